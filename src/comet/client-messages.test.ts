import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { allocateThreadMemory, ThreadRuntime } from '../actor/index.js';
import { OUTCOME } from '../errors/index.js';
import { OP } from '../protocol/index.js';
import type { ClientMessage } from '../push/index.js';
import { MemorySessions } from '../store/index.js';
import { allocateCounters, METRIC, METRICS, type MemoryLog, memoryLog, ThreadCounters } from '../telemetry/index.js';
import { type UpstreamOutlet, upstreamOutlet } from './bucket/upstream-outlet.js';
import { closeText, readClientMessages } from './client-messages.js';
import { BucketParts } from './fixtures/bucket-parts.js';

const RING_BYTES = 65_536;
let control: ThreadRuntime;
let bucketRuntime: ThreadRuntime;
let bucket: BucketParts;
let sessions: MemorySessions;
let heard: ClientMessage[];
let gate: Int32Array;
let counters: ThreadCounters;
let log: MemoryLog;
let backlogCount: number;
let outlet: UpstreamOutlet;

beforeEach(() => {
  const memory = allocateThreadMemory({ threadCount: 2, ringCapacityBytes: RING_BYTES });
  const onError = (error: unknown) => {
    throw error;
  };
  control = new ThreadRuntime(memory, 0, onError);
  bucketRuntime = new ThreadRuntime(memory, 1, onError);
  control.start();
  bucketRuntime.start();
  bucket = new BucketParts();
  sessions = new MemorySessions();
  heard = [];
  readClientMessages(control, sessions, {
    message: (message) => void heard.push({ ...message, body: new Uint8Array(message.body) }),
  });
  gate = new Int32Array(new SharedArrayBuffer(4));
  counters = new ThreadCounters(allocateCounters(METRICS, 1), 0);
  log = memoryLog();
  backlogCount = 0;
  const link = {
    get backlogCount() {
      return backlogCount;
    },
  };
  outlet = upstreamOutlet(
    { runtime: bucketRuntime, counters, log: log.logger, upstreamGate: gate },
    { connIdOf: () => 4_294_967_299 },
    link,
  ) as UpstreamOutlet;
});
afterEach(() => {
  control.close();
  bucketRuntime.close();
});

function ready(key = 'ключ') {
  const { channel, socket } = bucket.channel({ key });
  channel.userMid = 2 ** 53 - 1;
  bucket.enter(channel, 'live://комната', true);
  return { channel, socket };
}

describe("a client's message on its way to the control thread", () => {
  it('arrives whole: who, where, what', () => {
    const { channel } = ready();
    const session = {
      ...{ key: 'ключ', mid: 2 ** 53 - 1, serverId: 'a', nodeEpoch: 1, bucket: 1, connId: 4_294_967_299 },
      ...{ platform: 'web', remoteIp: '10.0.0.1', sinceMs: 1 },
    };
    sessions.put(session);
    const body = new Uint8Array([0, 255, 1, 2]);
    expect(outlet(channel, -5 >>> 1, -7, body)).toBe(OUTCOME.OK);
    expect(outlet(channel, OP.SEND_MSG, 8, new Uint8Array(0))).toBe(OUTCOME.OK);
    control.drainNow();
    const who = { key: 'ключ', mid: 2 ** 53 - 1, bucket: 1, connId: 4_294_967_299, room: 'live://комната', session };
    expect(heard).toEqual([
      { ...who, op: 2_147_483_645, seq: -7, body },
      { ...who, op: 4, seq: 8, body: new Uint8Array(0) },
    ]);
  });

  it('does not take the session of another connection of the same key for its own', () => {
    sessions.put({
      ...{ key: 'ключ', mid: 1, serverId: 'a', nodeEpoch: 1, bucket: 1, connId: 5 },
      ...{ platform: 'web', remoteIp: '10.0.0.1', sinceMs: 1 },
    });
    outlet(ready().channel, 1000, 1, new Uint8Array(1));
    control.drainNow();
    expect(heard.map(({ session }) => session)).toEqual([undefined]);
  });

  it('is refused, counted and logged while the gate is shut, the ring full or a connect waits before it', () => {
    const { channel } = ready();
    const send = (bytes: number) => outlet(channel, 1000, 1, new Uint8Array(bytes));
    Atomics.store(gate, 0, 1);
    expect(send(1)).toBe(OUTCOME.FULL);
    Atomics.store(gate, 0, 0);
    backlogCount = 1;
    expect(send(1)).toBe(OUTCOME.FULL);
    backlogCount = 0;
    let sentCount = 0;
    while (send(4_000) === OUTCOME.OK) sentCount += 1;
    expect(sentCount).toBeGreaterThan(10);
    control.drainNow();
    expect(send(4_000)).toBe(OUTCOME.OK);
    expect(send(RING_BYTES)).toBe(OUTCOME.TOO_LARGE);
    control.drainNow();
    expect(heard).toHaveLength(sentCount + 1);
    expect([counters.get(METRIC.upstream_refused), log.records.length]).toEqual([4, 4]);
  });

  it('is not made of what is no message: a second auth packet holds a token', () => {
    const { channel } = ready();
    for (const op of [0, 1, 5, 6, OP.AUTH, OP.AUTH_REPLY, 9, 17]) {
      expect(outlet(channel, op, 1, new Uint8Array(9))).toBe(OUTCOME.OK);
    }
    control.drainNow();
    expect(heard).toEqual([]);
  });

  it('is nothing at all where there is no upstream', () => {
    const parts = { runtime: bucketRuntime, counters, log: log.logger };
    expect(upstreamOutlet(parts, { connIdOf: () => 1 }, { backlogCount: 0 })).toBeUndefined();
  });
});

it('the reason of an end is a short phrase', () => {
  expect([0, 3003, 3500, 4001].map(closeText)).toEqual(['client', 'idle', 'taken over', 'code 4001']);
});
