import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { OP } from '../src/protocol/index.js';
import { eventually, type HalleyProcess, nodeStats, post, readiness, startHalley, WireClient } from './kit/index.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Event = Readonly<Record<string, unknown>>;

/** A backend that checks what it is sent, and answers as the test says. */
class Backend {
  readonly events: Event[] = [];
  readonly problems: string[] = [];
  /** Status of the next answers; without one 204. `hang` does not answer at all. */
  answer: (request: IncomingMessage) => number | 'hang' = () => 204;
  readonly server: Server;

  private constructor() {
    this.server = createServer((request, response) => void this.#take(request, response));
  }

  static async start(): Promise<Backend> {
    const backend = new Backend();
    backend.server.listen(0, '127.0.0.1');
    await once(backend.server, 'listening');
    cleanups.push(() => {
      backend.server.closeAllConnections();
      backend.server.close();
    });
    return backend;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook`;
  }

  of(...types: string[]): Event[] {
    return this.events.filter(({ type }) => types.includes(type as string));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request.headers['halley-signature'])) ?? [];
    if (v1 !== createHmac('sha256', SECRET).update(`${t}.${body}`).digest('hex')) this.problems.push('bad signature');
    const status = this.answer(request);
    if (status === 'hang') return;
    if (status === 204) this.events.push(...(JSON.parse(body) as { events: Event[] }).events);
    response.writeHead(status).end();
  }
}

async function start(
  backend: Backend,
  env: Record<string, string> = {},
): Promise<{ node: HalleyProcess; dataDir: string }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'halley-upstream-'));
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
  const node = await startHalley({
    dataDir,
    env: {
      HALLEY_UPSTREAM_SINK: 'webhook',
      HALLEY_UPSTREAM_URL: backend.url,
      HALLEY_UPSTREAM_SECRET: SECRET,
      HALLEY_UPSTREAM_OFFLINE_DEBOUNCE_MS: '100',
      ...env,
    },
  });
  cleanups.push(() => node.stop());
  return { node, dataDir };
}

describe('a node with a webhook', () => {
  it('tells what a client does in the order in which it does it, and that its user is offline after a while', async () => {
    const backend = await Backend.start();
    const { node } = await start(backend);
    const client = await WireClient.connect(node.wsUrl, { mid: 42, key: 'phone', roomId: 'live://1', platform: 'ios' });
    for (let i = 0; i < 300; i++) client.send(1000, `m${i}`);
    const answer = await client.request(OP.SEND_MSG, new Uint8Array([0xff, 0xfe]));
    expect(answer.body).toHaveLength(0);
    await client.close();
    await eventually(() => backend.of('offline').length > 0);
    const mine = backend.events.filter(({ key }) => key === 'phone');
    expect(mine.map(({ type }) => type)).toEqual([
      'connect',
      'online',
      ...Array.from({ length: 301 }, () => 'message'),
      'disconnect',
      'offline',
    ]);
    const [connect] = mine;
    expect(connect).toMatchObject({ mid: 42, platform: 'ios', ip: '127.0.0.1', node_epoch: 1 });
    const messages = backend.of('message');
    expect(messages.slice(0, 300).map(({ body }) => body)).toEqual(Array.from({ length: 300 }, (_, i) => `m${i}`));
    expect(messages[300]).toMatchObject({
      ...{ op: 4, seq: answer.seq, body_base64: '//4=', room: 'live://1', key: 'phone', mid: 42, platform: 'ios' },
      conn_id: connect?.['conn_id'],
    });
    expect(backend.of('disconnect')[0]).toMatchObject({ reason: 'client', still_online: false });
    expect(backend.of('offline')[0]).toMatchObject({ mid: 42, still_online: false });
    expect(backend.of('room_occupied', 'room_empty').map(({ type, room }) => [type, room])).toEqual([
      ['room_occupied', 'live://1'],
      ['room_empty', 'live://1'],
    ]);
    expect(new Set(backend.events.map(({ id }) => id)).size).toBe(backend.events.length);
    expect(backend.problems).toEqual([]);
  });

  it('says why a channel ended, and whether its user has another device', async () => {
    const backend = await Backend.start();
    const { node } = await start(backend);
    const tablet = await WireClient.connect(node.wsUrl, { mid: 7, key: 'tablet' });
    await WireClient.connect(node.wsUrl, { mid: 7, key: 'phone' });
    const second = await WireClient.connect(node.wsUrl, { mid: 7, key: 'phone' });
    await post(`${node.httpUrl}/halley/disconnect`, { keys: ['tablet'] });
    await eventually(() => tablet.closed);
    second.sendRaw(new Uint8Array(20).fill(9));
    await eventually(() => backend.of('offline').length > 0);
    expect(backend.of('disconnect').map(({ key, reason, still_online }) => [key, reason, still_online])).toEqual([
      ['phone', 'taken over', true],
      ['tablet', 'disconnected by the backend', true],
      ['phone', 'malformed packet', false],
    ]);
    expect(backend.of('online', 'offline').map(({ type }) => type)).toEqual(['online', 'offline']);
  });

  it('flushes the disconnects of a shutdown before it ends, and keeps nothing back', async () => {
    const backend = await Backend.start();
    const { node } = await start(backend, { HALLEY_UPSTREAM_OFFLINE_DEBOUNCE_MS: '60000' });
    for (let i = 1; i <= 20; i++) await WireClient.connect(node.wsUrl, { mid: i, key: `k${i}` });
    expect(await node.stop()).toBe(0);
    expect(backend.of('disconnect').map(({ reason }) => reason)).toEqual(Array.from({ length: 20 }, () => 'shutdown'));
    expect(backend.of('offline')).toHaveLength(20);
  });

  it('keeps what nobody took as dead letters in the data directory', async () => {
    const backend = await Backend.start();
    backend.answer = () => 400;
    const { node, dataDir } = await start(backend, { HALLEY_UPSTREAM_EVENTS: 'connect' });
    await WireClient.connect(node.wsUrl, { mid: 1, key: 'k1' });
    const text = await eventually(() => readFile(join(dataDir, 'upstream-dead.jsonl'), 'utf8').catch(() => undefined));
    const letter = JSON.parse(text.trim()) as { cause: string; events: Event[] };
    expect(letter.cause).toBe('status 400');
    expect(letter.events).toMatchObject([{ type: 'connect', key: 'k1' }]);
    await eventually(async () => {
      const { totals } = await nodeStats(node.httpUrl);
      return totals.upstream_dead === 1 && totals.upstream_failed === 1 && totals.upstream_waiting === 0;
    });
  });

  it('refuses messages while the backend hangs, with an error where the client knows one, and takes them again', async () => {
    const backend = await Backend.start();
    backend.answer = () => 'hang';
    const { node } = await start(backend, {
      HALLEY_UPSTREAM_MAX_WAITING_EVENTS: '16',
      HALLEY_UPSTREAM_TIMEOUT_MS: '200',
      HALLEY_UPSTREAM_RETRY_MAX_MS: '200',
      HALLEY_UPSTREAM_EVENTS: 'message',
    });
    const extended = await WireClient.connect(node.wsUrl, { mid: 1, key: 'extended', extended: true });
    const plain = await WireClient.connect(node.wsUrl, { mid: 2, key: 'plain' });
    const answers: string[] = [];
    const refused = await eventually(async () => {
      const { body } = await extended.request(1000, `m${answers.length}`);
      if (body.length > 0) return body.toString();
      answers.push(`m${answers.length}`);
      return undefined;
    });
    expect(JSON.parse(refused)).toMatchObject({ error: { code: 500, temporary: true } });
    expect((await readiness(node.httpUrl)).reasons.map(({ reason }) => reason)).toContain('upstream_full');
    const unanswered = plain.send(1000, 'nobody takes this');
    await plain.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
    expect(plain.packets.some(({ op, seq }) => op === 1000 && seq === unanswered)).toBe(false);
    backend.answer = () => 204;
    await eventually(async () => (await extended.request(1000, 'last')).body.length === 0);
    await eventually(() => backend.events.some(({ body }) => body === 'last'));
    const bodies = backend.events.map(({ body }) => body);
    expect(bodies.slice(0, answers.length)).toEqual(answers);
    expect(bodies).not.toContain('nobody takes this');
    await eventually(async () => (await readiness(node.httpUrl)).reasons.length === 0);
  });
});
