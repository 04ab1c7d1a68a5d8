import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock, systemClock } from '../../clock/index.js';
import { UPSTREAM_EVENT_TYPES } from '../../config/index.js';
import type { ClientMessage, Session, UpstreamEventType } from '../../push/index.js';
import { MemorySessions } from '../../store/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { EventLanes } from './event-lanes.js';
import { sessionOf, TestDeadLetters, TestSink } from './fixtures/upstream-parts.js';
import { UpstreamEvents } from './upstream-events.js';

let sink: TestSink;
let local: MemorySessions;
let gate: boolean[];
let ids: { count: number; isStopped: boolean };
let events: UpstreamEvents;

function start(types: readonly UpstreamEventType[] = UPSTREAM_EVENT_TYPES, maxWaitingEvents = 100): void {
  sink = new TestSink();
  local = new MemorySessions();
  gate = [];
  ids = { count: 0, isStopped: false };
  const log = memoryLog().logger;
  events = new UpstreamEvents(
    { serverId: 'node-a', types: new Set(types), offlineDebounceMs: 0, maxWaitingCount: maxWaitingEvents },
    {
      local,
      nodeEpoch: () => 1,
      nextId: () => {
        if (ids.isStopped) return undefined;
        ids.count += 1;
        return String(ids.count);
      },
      clock: new ManualClock(5_000),
      log,
      onGate: (isShut) => gate.push(isShut),
    },
  );
  const bounds = {
    batchMaxEvents: 10,
    batchMaxBytes: 100_000,
    batchDelayMs: 0,
    maxWaitingEvents,
    maxWaitingBytes: 1e6,
  };
  const lanes = new EventLanes(
    { laneCount: 1, retryBaseMs: 10, retryMaxMs: 10, giveUpMs: Number.POSITIVE_INFINITY, ...bounds },
    {
      ...{ sink, dead: new TestDeadLetters(), clock: systemClock, log, random: Math.random },
      onChange: () => events.lanesChanged(),
    },
  );
  events.connect([lanes]);
}

/** As comet does it. */
function connect(overrides: Partial<Session> = {}): Session {
  const session = sessionOf(overrides);
  const stored = local.put(session);
  events.connected(session, stored.status === 'stored' ? stored.previous : undefined);
  return session;
}

function disconnect(session: Session, reason = 'client'): void {
  local.remove(session);
  events.disconnected(session, reason);
}

function messageOf(overrides: Partial<ClientMessage> = {}): ClientMessage {
  const body = new TextEncoder().encode('hi');
  const { key, mid, bucket, connId } = sessionOf();
  return { key, mid, bucket, connId, room: '', op: 4, seq: 9, body, session: sessionOf(), ...overrides };
}

async function sent(): Promise<Record<string, unknown>[]> {
  await vi.advanceTimersByTimeAsync(100);
  return sink.sent.flatMap((batch) => batch.events.map(({ json }) => JSON.parse(json) as Record<string, unknown>));
}
const typesOf = (list: Record<string, unknown>[]) => list.map(({ type, key }) => `${type} ${key}`);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  start();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('events', () => {
  it('say who, where and when', async () => {
    const session = connect();
    events.message(messageOf({ room: 'live://1' }));
    disconnect(session, 'idle');
    events.room('live://1', true);
    const who = { key: 'phone', mid: 7, conn_id: '1:1', platform: 'ios' };
    const where = { at_ms: 5_000, server_id: 'node-a', node_epoch: 1 };
    expect((await sent()).slice(0, 5)).toEqual([
      { id: '1', type: 'connect', ...where, ...who, ip: '10.0.0.1' },
      { id: '2', type: 'online', ...where, key: 'phone', mid: 7, platform: 'ios' },
      { id: '3', type: 'message', ...where, ...who, ip: '10.0.0.1', room: 'live://1', op: 4, seq: 9, body: 'hi' },
      { id: '4', type: 'disconnect', ...where, ...who, ip: '10.0.0.1', reason: 'idle', still_online: false },
      { id: '5', type: 'room_occupied', ...where, room: 'live://1' },
    ]);
  });

  it('give a body as text where it is UTF-8, and as base64 where it is not; both come back as they were', async () => {
    const bodies = ['', '"\\\n\u0000', '\uFEFFbom', '日本 🙂'].map((text) => new TextEncoder().encode(text));
    bodies.push(new Uint8Array([0xed, 0xa0, 0x80]), new Uint8Array([0x66, 0xff]));
    for (const body of bodies) events.message(messageOf({ body }));
    const back = (await sent()).map(({ body, body_base64: base64 }) =>
      typeof body === 'string' ? Buffer.from(body) : Buffer.from(base64 as string, 'base64'),
    );
    expect(back).toEqual(bodies.map((body) => Buffer.from(body)));
    expect((await sent()).filter((event) => 'body_base64' in event)).toHaveLength(2);
  });

  it('leave out what is not known: a channel without a user, a message whose session is gone', async () => {
    disconnect(connect({ mid: 0, platform: '', remoteIp: '' }));
    events.message(messageOf({ mid: 0, session: undefined }));
    const keys = (await sent()).map((event) => Object.keys(event).slice(5).join());
    expect(keys).toEqual(['key,conn_id', 'key,conn_id,reason', 'key,conn_id,op,seq,body']);
  });

  it('of a takeover are the end of the old channel, then the connect; the user was online all the time', async () => {
    connect();
    const second = connect({ connId: 2 });
    disconnect(second);
    const list = await sent();
    expect(list.map(({ type, conn_id, reason, still_online }) => [type, conn_id, reason, still_online])).toEqual([
      ['connect', '1:1', undefined, undefined],
      ['online', undefined, undefined, undefined],
      ['disconnect', '1:1', 'taken over', true],
      ['connect', '1:2', undefined, undefined],
      ['disconnect', '1:2', 'client', false],
      ['offline', undefined, undefined, false],
    ]);
  });

  it('of a swept session bear the name of the node that is gone', async () => {
    events.swept(sessionOf({ serverId: 'node-b', nodeEpoch: 8 }));
    expect(await sent()).toMatchObject([
      { type: 'disconnect', server_id: 'node-b', node_epoch: 8, reason: 'node lost', still_online: false },
      { type: 'offline', server_id: 'node-a', node_epoch: 1, mid: 7 },
    ]);
  });

  it('that nobody asked for are not made', async () => {
    start(['connect', 'room_empty']);
    const session = connect();
    events.message(messageOf());
    events.room('live://1', true);
    events.room('live://1', false);
    disconnect(session);
    expect((await sent()).map(({ type }) => type)).toEqual(['connect', 'room_empty']);
    expect([ids.count, events.gauges().undecidedUserCount]).toEqual([2, 0]);
  });
});

describe('the gate', () => {
  it('shuts while the lanes are full, and the node says why it is not ready', async () => {
    start(UPSTREAM_EVENT_TYPES, 10);
    sink.verdict = () => ({ kind: 'retry', afterMs: 0, cause: 'ECONNREFUSED' });
    for (let i = 0; i < 8; i++) events.message(messageOf());
    await vi.advanceTimersByTimeAsync(50);
    expect(gate).toEqual([true]);
    expect(events.notReady()).toEqual([
      { reason: 'upstream_full', detail: expect.stringContaining('test (ECONNREFUSED)') },
    ]);
    for (let i = 0; i < 3; i++) events.room('live://1', true);
    expect(events.notReady().map(({ reason }) => reason)).toEqual(['upstream_full', 'upstream_lost']);
    expect(events.gauges().lostCount).toBe(1);
    sink.verdict = () => ({ kind: 'sent' });
    expect(await sent()).toHaveLength(10);
    expect(gate).toEqual([true, false]);
    expect(events.notReady().map(({ reason }) => reason)).toEqual(['upstream_lost']);
  });

  it('shuts while no ids may be issued; events wait for theirs, in order', async () => {
    ids.isStopped = true;
    const session = connect();
    events.message(messageOf());
    disconnect(session);
    expect(await sent()).toEqual([]);
    expect([gate, events.gauges().waitingCount]).toEqual([[true], 5]);
    ids.isStopped = false;
    expect(typesOf(await sent())).toEqual([
      ...['connect phone', 'online phone', 'message phone', 'disconnect phone', 'offline phone'],
    ]);
    expect(gate).toEqual([true, false]);
  });
});

it('closing decides and sends what is left', async () => {
  start(UPSTREAM_EVENT_TYPES, 1_000);
  for (let mid = 1; mid <= 30; mid++) disconnect(connect({ mid, key: `k${mid}` }), 'shutdown');
  const closing = events.close(1_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await closing).toBe(true);
  expect((await sent()).filter(({ type }) => type === 'offline')).toHaveLength(30);
  expect(events.gauges()).toMatchObject({ waitingCount: 0, sentCount: 120, lostCount: 0, undecidedUserCount: 0 });
});
