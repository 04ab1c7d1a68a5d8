/**
 * What the design takes for granted of uWebSockets.js, run on whatever binary is loaded (DESIGN section 10): a build in
 * which one of these fails must not serve.
 */

import uWS, { type TemplatedApp, type WebSocket as UwsSocket } from 'uWebSockets.js';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { probePort } from '../src/push/index.js';
import { eventually } from './kit/index.js';

const MAX_BACKPRESSURE_BYTES = 65_536;
/** From here on uWS writes a published message straight to every subscriber instead of collecting it. */
const LARGE_BYTES = 16_384;

/** A server with one topic, whose clients are in this process too. */
class Server {
  readonly app: TemplatedApp = uWS.App();
  readonly sockets: UwsSocket<unknown>[] = [];
  port = 0;
  droppedCount = 0;
  drainCount = 0;
  closedCount = 0;

  constructor() {
    const behavior = {
      maxBackpressure: MAX_BACKPRESSURE_BYTES,
      maxPayloadLength: 1_048_576,
      compression: uWS.DISABLED,
      idleTimeout: 0,
      open: (socket: UwsSocket<unknown>) => {
        socket.subscribe('topic');
        this.sockets.push(socket);
      },
      dropped: () => {
        this.droppedCount += 1;
      },
      drain: () => {
        this.drainCount += 1;
      },
      close: () => {
        this.closedCount += 1;
      },
    };
    this.app.ws('/*', behavior);
    this.app.listen('127.0.0.1', 0, (socket) => {
      if (socket !== false) this.port = uWS.us_socket_local_port(socket);
    });
  }

  async client(): Promise<Client> {
    const client = new Client(this.port);
    const index = this.sockets.length;
    await eventually(() => this.sockets[index]);
    return client;
  }
}

class Client {
  readonly socket: WebSocket;
  readonly messages: Buffer[] = [];
  isClosed = false;

  constructor(port: number) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false });
    this.socket.on('message', (data) => this.messages.push(data as Buffer));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }

  async count(count: number): Promise<readonly Buffer[]> {
    await eventually(() => this.messages.length >= count, 10_000, `${count} messages`);
    return this.messages;
  }
}

const servers: Server[] = [];
function start(): Server {
  const server = new Server();
  servers.push(server);
  return server;
}
afterEach(() => {
  for (const server of servers.splice(0)) server.app.close();
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Publish 64 KiB at a time until uWS drops one for a client that does not read. */
async function publishUntilDropped(server: Server): Promise<number> {
  const bytes = new Uint8Array(65_536);
  for (let count = 1; count <= 1000; count++) {
    bytes.fill(count & 255);
    server.app.publish('topic', bytes, true);
    await turn();
    if (server.droppedCount > 0) return count;
  }
  throw new Error('64 MB were taken for a client that does not read');
}

describe('a client that does not read', () => {
  it('makes dropped fire, stays connected, and drains when it reads again', async () => {
    const server = start();
    const [slow, fast] = [await server.client(), await server.client()];
    slow.socket.pause();
    const count = await publishUntilDropped(server);
    expect(slow.isClosed).toBe(false);
    await fast.count(count);
    slow.socket.resume();
    await eventually(() => server.drainCount > 0 && server.sockets[0]?.getBufferedAmount() === 0);
    server.app.publish('topic', 'still subscribed');
    await eventually(() => slow.messages.at(-1)?.toString() === 'still subscribed');
    expect(slow.messages.length).toBeLessThan(count + 1);
    expect(server.closedCount).toBe(0);
  });

  it('has had its dropped when setImmediate runs: there the channel may leave its topics', async () => {
    const server = start();
    const slow = await server.client();
    slow.socket.pause();
    await publishUntilDropped(server);
    for (let round = 0; round < 20; round++) {
      const before = server.droppedCount;
      // Small enough to be collected in the topic, and never small enough for a buffer that is over its limit.
      server.app.publish('topic', new Uint8Array(LARGE_BYTES / 2), true);
      await turn();
      expect(server.droppedCount).toBeGreaterThan(before);
    }
    server.sockets[0]?.unsubscribe('topic');
    const before = server.droppedCount;
    server.app.publish('topic', 'to nobody');
    await turn();
    expect(server.droppedCount).toBe(before);
  });
});

describe('order', () => {
  it.each([10, LARGE_BYTES - 1, LARGE_BYTES, 3 * LARGE_BYTES])(
    'of what is published and sent to one socket is the order of the calls, at %i bytes',
    async (size) => {
      const server = start();
      const clients = [await server.client(), await server.client()];
      const bytes = Buffer.alloc(size);
      for (let index = 0; index < 60; index++) {
        bytes.writeInt32BE(index);
        if (index % 3 === 2) for (const socket of server.sockets) socket.send(bytes, true);
        else server.app.publish('topic', bytes, true);
        if (index % 20 === 19) await turn();
      }
      for (const client of clients) {
        const order = (await client.count(60)).map((message) => message.readInt32BE());
        expect(order).toEqual(Array.from({ length: 60 }, (_, index) => index));
      }
    },
  );

  it('of small and large messages of a topic is the order of the calls', async () => {
    const server = start();
    const client = await server.client();
    const sizes = Array.from({ length: 60 }, (_, index) => (index % 4 === 3 ? 20_000 + index : 10 + index));
    for (const size of sizes) server.app.publish('topic', new Uint8Array(size), true);
    expect((await client.count(60)).map(({ length }) => length)).toEqual(sizes);
  });

  it('of a subscription: nothing published before it, everything after, nothing after its end', async () => {
    const server = start();
    const client = await server.client();
    const [socket] = server.sockets;
    socket?.unsubscribe('topic');
    server.app.publish('topic', 'before');
    socket?.subscribe('topic');
    server.app.publish('topic', 'inside');
    socket?.unsubscribe('topic');
    server.app.publish('topic', 'after');
    socket?.send('end');
    await eventually(() => client.messages.at(-1)?.toString() === 'end');
    expect(client.messages.map((message) => message.toString())).toEqual(['inside', 'end']);
  });
});

describe('the bytes given to send and publish', () => {
  it.each([
    ['a buffer', (size: number) => new Uint8Array(size)],
    ['a view of shared memory', (size: number) => new Uint8Array(new SharedArrayBuffer(size + 64), 32, size)],
  ])('in %s may be overwritten as soon as the call has returned', async (_, allocate) => {
    const server = start();
    const client = await server.client();
    const sizes = [1, 100, LARGE_BYTES - 1, LARGE_BYTES, 5 * LARGE_BYTES];
    for (const size of sizes) {
      const bytes = allocate(size);
      server.app.publish('topic', bytes.fill(0x11), true);
      server.sockets[0]?.send(bytes.fill(0x22), true);
      server.app.publish('topic', bytes.fill(0x33), true);
      bytes.fill(0xff);
    }
    const expected = sizes.flatMap((size) => [0x11, 0x22, 0x33].map((byte) => Buffer.alloc(size, byte)));
    const messages = await client.count(expected.length);
    expect(messages.map((message, index) => message.equals(expected[index]!))).toEqual(expected.map(() => true));
  });

  it('are copied also for a client whose buffer they wait in', async () => {
    const server = start();
    const client = await server.client();
    client.socket.pause();
    const bytes = new Uint8Array(new SharedArrayBuffer(32_768));
    let count = 0;
    // Until something waits in user space; far below the limit at which uWS drops.
    while (server.sockets[0]?.getBufferedAmount() === 0 && count < 1000) {
      count += 1;
      server.app.publish('topic', bytes.fill(count & 127), true);
      await turn();
    }
    expect(server.sockets[0]?.getBufferedAmount()).toBeGreaterThan(0);
    bytes.fill(0xff);
    client.socket.resume();
    const messages = await client.count(count);
    for (const [index, message] of messages.entries()) {
      expect(message.equals(Buffer.alloc(32_768, (index + 1) & 127))).toBe(true);
    }
  });
});

describe('the close handler', () => {
  it.each([
    ['end', (server: Server) => server.sockets[0]?.end(3000, 'bye')],
    ['close', (server: Server) => server.sockets[0]?.close()],
    ['close of the app', (server: Server) => server.app.close()],
  ])('has run when %s returns', async (name, close) => {
    const server = start();
    const clients = [await server.client(), await server.client()];
    close(server);
    expect(server.closedCount).toBe(name === 'close of the app' ? 2 : 1);
    await eventually(() => clients[0]?.isClosed);
  });

  it('runs once, and an app can be closed again', async () => {
    const server = start();
    await server.client();
    server.sockets[0]?.end(3000);
    server.app.close();
    server.app.close();
    await turn();
    expect(server.closedCount).toBe(1);
  });
});

/** Run the script that ends a worker, and tell how its process ended. */
async function runWorkerExit(
  how: 'orphaned' | 'closed',
): Promise<{ code: number | null; signal: string | null; out: string }> {
  const script = fileURLToPath(new URL('./uws-behaviour/worker-exit.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, how], { stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, out };
}

describe('a worker thread that ends', () => {
  it('with an open app takes the whole process with it: why the crash rule exists', async () => {
    const { code, signal } = await runWorkerExit('orphaned');
    // SIGABRT or SIGSEGV, depending on the build.
    expect(code).toBeNull();
    expect(['SIGABRT', 'SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGTRAP']).toContain(signal);
  });

  it('after it has closed its app leaves the process alone', async () => {
    expect(await runWorkerExit('closed')).toEqual({ code: 0, signal: null, out: 'the process outlived its worker\n' });
  });
});

it('two threads share a port and both get connections, and an exclusive probe finds it taken', async () => {
  const script = new URL('./uws-behaviour/shared-port.worker.mjs', import.meta.url);
  const openCounts = [0, 0];
  const listen = async (index: number, port: number): Promise<[Worker, number]> => {
    const worker = new Worker(script, { workerData: port });
    const [first] = (await once(worker, 'message')) as [{ port: number }];
    worker.on('message', () => {
      openCounts[index]! += 1;
    });
    return [worker, first.port];
  };
  // uWS shares only ports that were asked for by number: one that the kernel chose for it is its own.
  const port = await probePort('127.0.0.1', 0, 'ws_port');
  const [first, firstPort] = await listen(0, port);
  const [second, secondPort] = await listen(1, port);
  expect([firstPort, secondPort]).toEqual([port, port]);
  await expect(probePort('127.0.0.1', port, 'ws_port')).rejects.toMatchObject({ code: 'PORT_TAKEN' });
  // The kernel picks a thread by a hash of the addresses: 64 connections all on one side would be a chance of 2^-63.
  const clients = Array.from({ length: 64 }, () => new Client(port));
  await eventually(() => openCounts[0]! + openCounts[1]! === 64);
  expect(Math.min(...openCounts)).toBeGreaterThan(0);
  for (const client of clients) client.socket.terminate();
  for (const worker of [first, second]) {
    const exit = once(worker, 'exit');
    worker.postMessage('close');
    expect(await exit).toEqual([0]);
  }
  expect(await probePort('127.0.0.1', port, 'ws_port')).toBe(port);
});
