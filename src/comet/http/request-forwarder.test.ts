import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server as HttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, makeAuthority } from '../../../test/kit/certificates.js';
import type { SessionEnd } from './http-errors.js';
import type { HttpExchange } from './http-exchange.js';
import { type ForwardedRequest, RequestForwarder } from './request-forwarder.js';

let authority: Authority;
let ca: string;
const closers: (() => unknown)[] = [];
beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'halley-forwarder-'));
  authority = await makeAuthority(dir);
  ca = await readFile(authority.caFile, 'utf8');
  return () => rm(dir, { recursive: true });
});
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const REQUEST: ForwardedRequest = {
  method: 'GET',
  path: '/sub/poll?session=x',
  headers: {},
  body: undefined,
  answerWithinMs: 30_000,
};

async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function secureServer(
  names: readonly string[],
): Promise<{ readonly server: HttpsServer; readonly port: number }> {
  const { certFile, keyFile } = await authority.issue(`node-${closers.length}-${names.length}`, { names });
  const server = createServer({ cert: await readFile(certFile), key: await readFile(keyFile) }, (_, response) =>
    response.end('here'),
  );
  const port = await portOf(server);
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port };
}

function forwarderOf(trusted: string) {
  const faults: unknown[] = [];
  const forwarder = new RequestForwarder((error) => faults.push(error), trusted);
  closers.push(() => forwarder.close());
  /** What the client is answered: a status, and a body or why there is none. */
  const forward = (port: number, host = '127.0.0.1') =>
    new Promise<readonly [string, string]>((resolve) => {
      const exchange = {
        isOver: false,
        onGone: undefined,
        answer: (status: string, _: unknown, body?: Uint8Array) => resolve([status, String(body)]),
        error: (status: string, { reason }: SessionEnd) => resolve([status, reason]),
      };
      forwarder.forward(exchange as unknown as HttpExchange, { host, port, isTls: true }, REQUEST);
    });
  return { faults, forward };
}

describe('a request taken to a port with TLS', () => {
  it('goes over one connection that is kept, checked for the address that was dialled', async () => {
    const { server, port } = await secureServer(['IP:127.0.0.1', 'DNS:localhost']);
    let handshakeCount = 0;
    server.on('secureConnection', () => {
      handshakeCount += 1;
    });
    const { forward, faults } = forwarderOf(ca);
    expect(await forward(port)).toEqual(['200 OK', 'here']);
    expect(await forward(port)).toEqual(['200 OK', 'here']);
    expect(handshakeCount).toBe(1);
    expect(await forward(port, 'localhost')).toEqual(['200 OK', 'here']);
    expect([handshakeCount, faults]).toEqual([2, []]);
  });

  it('is not sent to whom nobody vouches for, which is reported once and told to every client', async () => {
    const { server, port } = await secureServer(['IP:127.0.0.1']);
    let requestCount = 0;
    server.on('request', () => {
      requestCount += 1;
    });
    const { forward, faults } = forwarderOf('');
    const refused = ['503 Service Unavailable', expect.stringContaining('(fallback.ca_file): cause=UNABLE_TO_')];
    expect([await forward(port), await forward(port)]).toEqual([refused, refused]);
    expect(faults).toEqual([expect.objectContaining({ code: 'FALLBACK_NODE_UNTRUSTED' })]);
    expect(String(faults[0])).toContain(`host="127.0.0.1" port=${port}`);
    expect(requestCount).toBe(0);
  });

  it('is given up where the handshake does not end, long before a poll would be', async () => {
    const silent = createTcpServer((socket) => {
      socket.on('error', () => socket.destroy());
      closers.push(() => socket.destroy());
    });
    const port = await portOf(silent);
    closers.push(() => silent.close());
    const { forward, faults } = forwarderOf(ca);
    const beganMs = performance.now();
    expect(await forward(port)).toEqual(['503 Service Unavailable', 'where this session is cannot be reached now']);
    expect(performance.now() - beganMs).toBeLessThan(10_000);
    expect(faults).toEqual([]);
  });
});
