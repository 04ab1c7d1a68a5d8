/**
 * Question: what does an upstream event cost the control thread from the ring to its lane, and which way out is cheaper: one
 *   stream entry per event or one per batch; node:http or fetch for the webhook?
 * Topology: all in this process, except a real redis-server. Batches of 256 events of about 250 bytes of JSON; the webhook's
 *   server answers 204 from this process too, which both clients pay for alike. Needs 2 cores (Redis has one).
 * Competitors: fetch (undici) against node:http with an agent; a batch as one entry against an entry per event.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../../src/clock/index.js';
import { EventLanes, signature, UpstreamEvents, WebhookSink } from '../../src/logic/index.js';
import type { ClientMessage, EncodedEvent, EventBatch, EventSink } from '../../src/push/index.js';
import { MemorySessions } from '../../src/store/index.js';
import type * as Store from '../../src/store/redis/index.js';
import { memoryLog } from '../../src/telemetry/index.js';
import { startRedis } from '../../test/kit/redis-server.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow, measureRounds } from '../bench.js';

declare const HALLEY_ROOT: string;

const BATCH_EVENTS = 256;
const SECRET = 'x'.repeat(32);

const JSON_OF_EVENT = JSON.stringify({
  ...{ id: '7123456789012345678', type: 'message', at_ms: 1_767_225_600_000, server_id: 'node-a', node_epoch: 12 },
  ...{ key: 'device-123456', mid: 123_456, conn_id: '1:4294967299', room: 'live://1000', op: 4, seq: 99 },
  ...{ body: '{"text":"hello, world"}', platform: 'web', ip: '203.0.113.7' },
});
const EVENTS: readonly EncodedEvent[] = Array.from({ length: BATCH_EVENTS }, (_, index) => ({
  id: String(7_123_456_789_012 + index),
  type: 'message',
  json: JSON_OF_EVENT,
}));
const batchOf = (batchNo: number): EventBatch => ({ deliveryId: '1', batchNo, lane: 0, attempt: 1, events: EVENTS });

async function encoding(rounds: number, count: number): Promise<BenchRow> {
  let sentCount = 0;
  const sink: EventSink = {
    name: 'none',
    send: async ({ events }) => {
      sentCount += events.length;
      return { kind: 'sent' };
    },
    close: () => {},
  };
  const log = memoryLog().logger;
  let id = 0;
  const events = new UpstreamEvents(
    { serverId: 'node-a', types: new Set(['message']), offlineDebounceMs: 0, maxWaitingCount: 1 },
    {
      ...{ local: new MemorySessions(), nodeEpoch: () => 1, clock: systemClock, log, onGate: () => {} },
      nextId: () => {
        id += 1;
        return String(id);
      },
    },
  );
  const lanes = new EventLanes(
    {
      ...{ laneCount: 8, batchMaxEvents: BATCH_EVENTS, batchMaxBytes: 1e9, batchDelayMs: 20, maxWaitingEvents: 1e9 },
      ...{ maxWaitingBytes: 1e12, retryBaseMs: 1, retryMaxMs: 1, giveUpMs: 1 },
    },
    { sink, dead: { store: () => {} }, clock: systemClock, log, onChange: () => {}, random: Math.random },
  );
  events.connect([lanes]);
  const body = Buffer.from(new SharedArrayBuffer(64));
  body.write('{"text":"hello, world"}');
  const message: ClientMessage = {
    ...{ key: 'device-123456', mid: 123_456, bucket: 1, connId: 4_294_967_299, room: 'live://1000', op: 4, seq: 99 },
    ...{ body: body.subarray(0, 23), session: undefined },
  };
  const row = await measureRounds('message(): id, JSON, lane', count, rounds, async () => {
    for (let done = 0; done < count; done += BATCH_EVENTS) {
      for (let i = 0; i < BATCH_EVENTS; i++) events.message(message);
      await Promise.resolve();
    }
  });
  await events.close(10_000);
  assertResult(sentCount === rounds * count, 'every event reached the sink');
  return row;
}

async function streams(rounds: number, batches: number): Promise<BenchRow[]> {
  // From dist/, where the scripts stand beside the adapter; a bundle has no files beside it.
  const { RedisEventStream, RedisLink } = (await import(`${HALLEY_ROOT}dist/store/redis/index.js`)) as typeof Store;
  const server = await startRedis();
  const times = { connectTimeoutMs: 2_000, commandTimeoutMs: 5_000 };
  const link = await RedisLink.open(
    { url: server.url, prefix: 'bench', tlsCaFile: '', clientName: 'bench', ...times },
    memoryLog().logger,
  );
  try {
    const stream = new RedisEventStream(link, { serverId: 'node-a', maxEvents: 100_000 });
    let batchNo = 0;
    const perEvent = await measureRounds(
      'stream: an entry per event (script)',
      batches * BATCH_EVENTS,
      rounds,
      async () => {
        for (let i = 0; i < batches; i++) {
          batchNo += 1;
          assertResult((await stream.send(batchOf(batchNo))).kind === 'sent', 'Redis took the batch');
        }
      },
    );
    const perBatch = await measureRounds('stream: an entry per batch', batches * BATCH_EVENTS, rounds, async () => {
      for (let i = 0; i < batches; i++) {
        const json = `[${EVENTS.map((event) => event.json).join(',')}]`;
        await link.commands.xadd('batches', 'MAXLEN', '~', 400, '*', 'events', json);
      }
    });
    assertResult(
      (await link.commands.xlen(link.keys.events())) >= Math.min(100_000, rounds * batches * BATCH_EVENTS),
      'all',
    );
    return [
      perEvent,
      { ...perBatch, note: `${(perBatch.opsPerSec / perEvent.opsPerSec).toFixed(1)}x an entry per event` },
    ];
  } finally {
    link.close();
    await server.remove();
  }
}

async function webhooks(rounds: number, count: number): Promise<BenchRow[]> {
  let received = 0;
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      received += 1;
      response.writeHead(204).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  const sink = new WebhookSink(
    {
      ...{ url, secret: SECRET, timeoutMs: 5_000, maxSockets: 8, serverId: 'node-a', nodeEpoch: () => 1 },
      userAgent: 'bench',
    },
    systemClock,
  );
  const body = Buffer.from(
    `{"server_id":"node-a","node_epoch":1,"events":[${EVENTS.map(({ json }) => json).join(',')}]}`,
  );
  try {
    const http = await measureRounds('webhook: node:http, batches', count, rounds, async () => {
      for (let i = 0; i < count; i++) assertResult((await sink.send(batchOf(i))).kind === 'sent', 'taken');
    });
    const fetched = await measureRounds('webhook: fetch, batches', count, rounds, async () => {
      for (let i = 0; i < count; i++) {
        const headers = { 'content-type': 'application/json', 'halley-signature': signature(SECRET, 1, body) };
        const answer = await fetch(url, { method: 'POST', body, headers, signal: AbortSignal.timeout(5_000) });
        await answer.arrayBuffer();
        assertResult(answer.status === 204, 'taken');
      }
    });
    assertResult(received === 2 * rounds * count, 'the server saw every request');
    return [http, { ...fetched, note: `${(fetched.nsPerOp / http.nsPerOp).toFixed(1)}x the time of node:http` }];
  } finally {
    sink.close();
    server.closeAllConnections();
    server.close();
  }
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 3 : 11;
  return {
    title: 'upstream: from the ring to a sink',
    topology:
      'one process; redis-server and the webhook on loopback; batches of 256 events of 250 bytes; needs 2 cores',
    rows: [
      await encoding(rounds, quick ? 5_120 : 51_200),
      ...(await streams(rounds, quick ? 20 : 100)),
      ...(await webhooks(rounds, quick ? 100 : 500)),
    ],
  };
}
