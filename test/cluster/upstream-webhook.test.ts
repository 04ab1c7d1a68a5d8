/**
 * The webhook of a cluster over https: the certificate of the backend is checked against a given authority, the signature by a
 * program that is not ours (openssl), and a backend that fails in every way gets all events of a channel in their order.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  type Authority,
  type CertificateFiles,
  eventually,
  type HalleyProcess,
  makeAuthority,
  nodeStats,
  type RedisServer,
  runHalley,
  startRedis,
  WireClient,
} from '../kit/index.js';
import { startNode } from './nodes.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const MESSAGE_OP = 1000;

interface Event {
  readonly id: string;
  readonly type: string;
  readonly key?: string;
  readonly body?: string;
  readonly conn_id?: string;
  readonly server_id: string;
}

/** One request, as it came. */
interface Delivery {
  readonly signature: string;
  readonly body: Buffer;
  readonly deliveryId: string;
  readonly attempt: number;
}

/** `lost`: taken, and the connection is reset in place of the answer. `reset`: neither read nor answered. */
type Mood = 'take' | 'fail' | 'reset' | 'lost';

class Backend {
  readonly deliveries: Delivery[] = [];
  /** Events of requests that were taken, repeats included. */
  readonly events: Event[] = [];
  readonly moods = new Map<Mood, number>();
  moodOf: (deliveryNo: number) => Mood = () => 'take';
  readonly server: Server;
  #requestCount = 0;

  private constructor(cert: Buffer, key: Buffer) {
    this.server = createServer({ cert, key }, (request, response) => void this.#serve(request, response));
  }

  static async start({ certFile, keyFile }: CertificateFiles): Promise<Backend> {
    const backend = new Backend(await readFile(certFile), await readFile(keyFile));
    backend.server.listen(0, '127.0.0.1');
    await once(backend.server, 'listening');
    return backend;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook`;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const mood = this.moodOf(this.#requestCount++);
    this.moods.set(mood, (this.moods.get(mood) ?? 0) + 1);
    if (mood === 'reset') {
      request.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    this.deliveries.push({
      body,
      signature: String(request.headers['halley-signature']),
      deliveryId: String(request.headers['halley-delivery']),
      attempt: Number(request.headers['halley-attempt']),
    });
    if (mood !== 'fail') this.events.push(...(JSON.parse(body.toString()) as { events: Event[] }).events);
    if (mood === 'lost') request.socket.destroy();
    else response.writeHead(mood === 'fail' ? 500 : 204).end();
  }
}

/** The check that a receiver writes by the README's sentence alone, with openssl in place of our own code. */
async function isSigned({ signature, body }: Delivery, secret: string): Promise<boolean> {
  const [, seconds = '', given = ''] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
  const child = spawn('openssl', ['dgst', '-sha256', '-hmac', secret, '-hex'], { stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stdin.write(`${seconds}.`);
  child.stdin.end(body);
  await once(child, 'close');
  const isRecent = Math.abs(Date.now() / 1000 - Number(seconds)) < 300;
  return isRecent && output.trim().endsWith(given) && given !== '';
}

/** What came first of each event: repeats are what "at least once" allows. */
function firstOf(events: readonly Event[]): Event[] {
  const seen = new Set<string>();
  return events.filter(({ id }) => !seen.has(id) && seen.add(id));
}

let dir: string;
let authority: Authority;
let certificates: CertificateFiles;
let redis: RedisServer;
let backend: Backend;
let nodes: HalleyProcess[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'halley-webhook-'));
  authority = await makeAuthority(dir);
  certificates = await authority.issue('backend', { names: ['IP:127.0.0.1', 'DNS:localhost'] });
  redis = await startRedis();
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
  backend?.close();
});
afterAll(async () => {
  await redis.remove();
  await rm(dir, { recursive: true, force: true });
});

function env(url: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    HALLEY_UPSTREAM_SINK: 'webhook',
    HALLEY_UPSTREAM_URL: url,
    HALLEY_UPSTREAM_SECRET: SECRET,
    HALLEY_UPSTREAM_WEBHOOK_CA_FILE: authority.caFile,
    HALLEY_UPSTREAM_RETRY_BASE_MS: '5',
    HALLEY_UPSTREAM_RETRY_MAX_MS: '50',
    HALLEY_UPSTREAM_BATCH_MAX_EVENTS: '8',
    ...more,
  };
}

describe('the webhook of a cluster over https', () => {
  it('gets all events of each channel in their order, signed, through errors, resets and answers that are lost', async () => {
    backend = await Backend.start(certificates);
    backend.moodOf = (no) => (['take', 'fail', 'reset', 'take', 'lost'] as const)[no % 5] as Mood;
    nodes = await Promise.all([0, 1].map((no) => startNode(redis.url, no, { prefix: 'hook', env: env(backend.url) })));
    const perClient = 60;
    const clients = await Promise.all(
      Array.from({ length: 12 }, (_, no) =>
        WireClient.connect(nodes[no % 2]!.wsUrl, { key: `device-${no}`, mid: 1 + (no >> 1), roomId: 'live://1' }),
      ),
    );
    for (let no = 0; no < perClient; no++) for (const client of clients) client.send(MESSAGE_OP, `m${no}`);
    const messagesOf = (key: string) =>
      firstOf(backend.events).filter((event) => event.type === 'message' && event.key === key);
    await eventually(
      () => clients.every((_, no) => messagesOf(`device-${no}`).length === perClient),
      20_000,
      'all messages',
    );
    await Promise.all(clients.map((client) => client.close()));
    await eventually(
      () => firstOf(backend.events).filter(({ type }) => type === 'disconnect').length === clients.length,
      10_000,
      'all disconnects',
    );
    for (const no of clients.keys()) {
      const mine = firstOf(backend.events).filter(
        ({ key, type }) => key === `device-${no}` && ['connect', 'message', 'disconnect'].includes(type),
      );
      expect(mine.map(({ type, body }) => body ?? type)).toEqual([
        'connect',
        ...Array.from({ length: perClient }, (_, index) => `m${index}`),
        'disconnect',
      ]);
      expect(new Set(mine.map(({ server_id }) => server_id))).toEqual(new Set([`hook-${no % 2}`]));
    }
    // Every way to fail came up, and what was taken and not answered came again, as the same batch.
    for (const mood of ['take', 'fail', 'reset', 'lost'] as const) expect(backend.moods.get(mood)).toBeGreaterThan(3);
    expect(backend.events.length).toBeGreaterThan(firstOf(backend.events).length);
    const bodies = new Map<string, Set<string>>();
    for (const { deliveryId, body } of backend.deliveries) {
      bodies.set(deliveryId, (bodies.get(deliveryId) ?? new Set()).add(body.toString()));
    }
    expect([...bodies].filter(([, texts]) => texts.size > 1)).toEqual([]);
    expect(Math.max(...backend.deliveries.map(({ attempt }) => attempt))).toBeGreaterThan(1);

    const [one] = backend.deliveries as [Delivery];
    const forged = { ...one, body: Buffer.concat([one.body, Buffer.from(' ')]) };
    expect([await isSigned(one, SECRET), await isSigned(one, `${SECRET}!`), await isSigned(forged, SECRET)]).toEqual([
      true,
      false,
      false,
    ]);
    for (const delivery of backend.deliveries.slice(0, 60)) expect(await isSigned(delivery, SECRET)).toBe(true);
  }, 60_000);

  it('sends nothing to a backend whose certificate nobody vouches for, and says why in the dead letters', async () => {
    backend = await Backend.start(certificates);
    nodes = [
      await startNode(redis.url, 0, {
        prefix: 'untrusted',
        env: env(backend.url, { HALLEY_UPSTREAM_WEBHOOK_CA_FILE: '', HALLEY_UPSTREAM_GIVE_UP_MS: '100' }),
      }),
    ];
    const client = await WireClient.connect(nodes[0]!.wsUrl, { key: 'k', mid: 1 });
    const store = new Redis(redis.port, '127.0.0.1', { protocol: 2 });
    const letter = await eventually(async () => {
      const [first] = await store.xrange('{untrusted:events}:dead', '-', '+');
      return first?.[1];
    });
    store.disconnect();
    expect(letter[letter.indexOf('cause') + 1]).toMatch(/CERT|UNABLE_TO|SELF_SIGNED/);
    await eventually(async () => {
      const { totals } = await nodeStats(nodes[0]!.httpUrl);
      return totals.upstream_failed > 0 && totals.upstream_dead > 0;
    });
    expect(backend.deliveries).toEqual([]);
    client.terminate();
  });

  it('names at the start an authority that cannot be read, or is none', async () => {
    const noPem = join(dir, 'no.pem');
    await writeFile(noPem, 'this is no certificate\n');
    for (const file of [join(dir, 'nowhere.pem'), noPem]) {
      const { code, stderr } = await runHalley(
        ['--ws-port', '0', '--http-port', '0', '--buckets', '1', '--data-dir', join(dir, 'data')],
        env('https://127.0.0.1:1/', { HALLEY_UPSTREAM_WEBHOOK_CA_FILE: file }),
      );
      expect(code).toBe(1);
      expect(stderr).toContain('upstream.webhook_ca_file');
      expect(stderr).toContain(file);
      expect(stderr).not.toMatch(/^\s+at /m);
    }
  });
});
