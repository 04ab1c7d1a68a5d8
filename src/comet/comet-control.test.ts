import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CLOSE, OUTCOME } from '../errors/index.js';
import { PUSH_OUTCOME, type PushCommand, type PushTarget } from '../push/index.js';
import { METRIC } from '../telemetry/index.js';
import { type ControlNode, REQUEST_TIMEOUT_MS, startControlNode } from './fixtures/control-node.js';
import { CONNECT_STATUS, MESSAGE } from './thread-messages.js';

let node: ControlNode;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  node = startControlNode();
});
afterEach(() => {
  node.close();
  vi.useRealTimers();
});

const push = (target: PushTarget, text = 'hi'): PushCommand => ({
  target,
  op: 1000,
  body: new TextEncoder().encode(text),
});
/** Records for nobody, until not even the smallest fits. */
function fillControlRing(): void {
  const { writer } = node.control;
  for (const bodyBytes of [4_000, 8]) {
    while (writer.claim(bodyBytes) === OUTCOME.OK) writer.commit(99, 0, bodyBytes);
  }
}

const advice = { code: 3501, reason: 'bye', reconnect: false, retryAfterMs: 250 };

describe('a connect', () => {
  it('is answered after its session is stored and its rooms are open, so a push that follows comes behind the answer', () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device', ['live://1', 'live://2']);
    expect(node.comet.deliver(push({ kind: 'rooms', rooms: ['live://1'] }))).toBe(PUSH_OUTCOME.OK);
    expect(bucket.take()).toEqual([
      [
        MESSAGE.CONNECTED,
        7,
        CONNECT_STATUS.STORED,
        [
          [1, 1_001, 0],
          [2, 1_002, 0],
        ],
      ],
      ['push', 'ROOM_PUSH', 0],
    ]);
    expect(node.sessions.byKey('device')).toEqual({
      key: 'device',
      mid: 42,
      serverId: 'node-a',
      nodeEpoch: 3,
      bucket: 1,
      connId: 7,
      platform: 'web',
      remoteIp: '10.0.0.1',
      sinceMs: 5,
    });
    expect([node.comet.connectionCount(), node.counters.get(METRIC.sessions)]).toEqual([1, 1]);
  });

  it('takes the key over from a channel of the same user in any bucket, which is told why', () => {
    const [first, second] = node.buckets;
    node.connect(first, 7, 42, 'device');
    first.take();
    node.connect(second, 8, 42, 'device', [], '10.0.0.2');
    expect(second.take()).toEqual([[MESSAGE.CONNECTED, 8, CONNECT_STATUS.STORED, []]]);
    const { code, reason } = CLOSE.TAKEN_OVER;
    expect(first.take()).toEqual([[MESSAGE.CLOSE, 0, [7], code, reason, false, 0]]);
    // The old channel's end arrives late and must not take the new session with it (goim W2).
    node.say(first, [MESSAGE.DISCONNECT, 7, 'device']);
    expect(node.sessions.byKey('device')?.connId).toBe(8);
    expect([node.comet.connectionCount(), node.comet.ipCount()]).toEqual([1, 1]);
    node.say(second, [MESSAGE.DISCONNECT, 8, 'device']);
    expect([node.comet.connectionCount(), node.comet.ipCount(), node.counters.get(METRIC.sessions)]).toEqual([0, 0, 0]);
  });

  it("with another user's key is refused, opens no room and leaves the owner alone", () => {
    const [first, second] = node.buckets;
    node.connect(first, 7, 42, 'device');
    first.take();
    node.connect(second, 8, 43, 'device', ['live://1'], '10.0.0.2');
    expect(second.take()).toEqual([[MESSAGE.CONNECTED, 8, CONNECT_STATUS.FOREIGN, []]]);
    expect(first.take()).toEqual([]);
    expect([node.sessions.byKey('device')?.mid, node.sequencer.roomCount(), node.comet.ipCount()]).toEqual([42, 0, 1]);
    node.say(second, [MESSAGE.DISCONNECT, 8, 'device']);
    expect(node.comet.connectionCount()).toBe(1);
  });

  it('learns which of its rooms the node has no place for', () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device', ['a://1', 'a://2', 'a://3', 'a://4']);
    const [, , , infos] = bucket.take()[0] as [number, number, number, [number, number, number][]];
    expect(infos.map(([roomNo]) => roomNo)).toEqual([1, 2, 3, 0]);
  });
});

it('counts each address once, for as long as one of its channels lives', () => {
  const [bucket, other] = node.buckets;
  node.connect(bucket, 1, 1, 'a', [], '10.0.0.1');
  node.connect(other, 1, 2, 'b', [], '10.0.0.1');
  node.connect(bucket, 2, 3, 'c', [], '10.0.0.2');
  expect(node.comet.ipCount()).toBe(2);
  node.say(bucket, [MESSAGE.DISCONNECT, 1, 'a']);
  expect(node.comet.ipCount()).toBe(2);
  node.say(other, [MESSAGE.DISCONNECT, 1, 'b']);
  expect(node.comet.ipCount()).toBe(1);
  node.say(bucket, [MESSAGE.DISCONNECT, 2, 'c']);
  node.say(bucket, [MESSAGE.DISCONNECT, 2, 'c']);
  expect(node.comet.ipCount()).toBe(0);
});

describe('rooms', () => {
  it('are opened on request and closed on vacate', () => {
    const [bucket] = node.buckets;
    node.say(bucket, [MESSAGE.OCCUPY, 5, ['live://1']]);
    expect(bucket.take()).toEqual([[MESSAGE.OCCUPIED, 5, [[1, 1_001, 0]]]]);
    expect(node.sequencer.roomNo('live://1')).toBe(1);
    node.say(bucket, [MESSAGE.VACATE, 1]);
    expect(node.sequencer.roomNo('live://1')).toBe(0);
  });

  it('are counted over all buckets, and those without members are not listed', () => {
    const [first, second] = node.buckets;
    node.say(first, [MESSAGE.OCCUPY, 1, ['live://1', 'live://2']]);
    node.say(second, [MESSAGE.OCCUPY, 1, ['live://1']]);
    node.roomCounts.set(1, 1, 2);
    node.roomCounts.set(1, 2, 3);
    expect([node.comet.roomCount('live://1'), node.comet.roomCount('live://9')]).toEqual([5, 0]);
    expect([...node.comet.roomCounts()]).toEqual([{ room: 'live://1', count: 5 }]);
  });
});

describe('a bucket that is lost', () => {
  it('takes its sessions, addresses, room counts and rooms with it, and nothing of the others', () => {
    const [first, second] = node.buckets;
    node.comet.bucketReady(1);
    node.comet.bucketReady(2);
    node.connect(first, 1, 1, 'a', ['live://1', 'live://2'], '10.0.0.1');
    node.connect(second, 1, 2, 'b', ['live://1'], '10.0.0.2');
    node.roomCounts.set(1, 1, 1);
    node.roomCounts.set(2, 1, 1);
    node.roomCounts.set(1, 2, 1);
    second.take();
    node.comet.bucketLost(1);
    expect([node.comet.connectionCount(), node.comet.ipCount()]).toEqual([1, 1]);
    expect([...node.comet.roomCounts()]).toEqual([{ room: 'live://1', count: 1 }]);
    expect([node.sequencer.roomNo('live://2'), node.roomCounts.total(2)]).toEqual([0, 0]);
    first.take();
    node.comet.deliver(push({ kind: 'all', speedPerSec: 0 }));
    node.comet.deliver(push({ kind: 'rooms', rooms: ['live://1'] }));
    expect(first.take()).toEqual([]);
    expect(second.take()).toEqual([
      ['push', 'ALL_PUSH', 0],
      ['push', 'ROOM_PUSH', 0],
    ]);
  });

  it('answers what was asked of it with nothing, so the call ends with what the others did', async () => {
    const [first, second] = node.buckets;
    node.connect(first, 1, 1, 'a');
    node.connect(second, 1, 2, 'b');
    first.take();
    second.take();
    const count = node.comet.disconnect({ keys: ['a', 'b'], mids: [] }, advice);
    const [[, request] = []] = second.take() as [number, number][];
    node.say(second, [MESSAGE.DONE, request, 1]);
    node.comet.bucketLost(1);
    expect(await count).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('never gets its successor answers that waited behind a full ring', () => {
    const [first, second] = node.buckets;
    fillControlRing();
    node.say(first, [MESSAGE.OCCUPY, 1, ['live://1']]);
    node.say(second, [MESSAGE.OCCUPY, 1, ['live://2']]);
    node.comet.bucketLost(1);
    for (const bucket of node.buckets) bucket.take();
    vi.advanceTimersByTime(1);
    expect(first.take()).toEqual([]);
    expect(second.take()).toEqual([[MESSAGE.OCCUPIED, 1, [[2, 1_002, 0]]]]);
  });
});

describe('deliver', () => {
  it('sends to keys and mids of this node, each channel once', () => {
    const [first, second] = node.buckets;
    node.connect(first, 1, 1, 'a');
    node.connect(second, 1, 1, 'b');
    for (const bucket of node.buckets) bucket.take();
    expect(node.comet.deliver(push({ kind: 'keys', keys: ['a', 'a', 'nobody'] }))).toBe(PUSH_OUTCOME.OK);
    expect([first.take(), second.take()]).toEqual([[['push', 'DIRECT_PUSH', 0]], []]);
    expect(node.comet.deliver(push({ kind: 'mids', mids: [1, 1] }))).toBe(PUSH_OUTCOME.OK);
    expect([first.take().length, second.take().length]).toEqual([1, 1]);
    expect(node.comet.deliver(push({ kind: 'keys', keys: ['nobody'] }))).toBe(PUSH_OUTCOME.OK);
    expect(node.counters.get(METRIC.pushes)).toBe(3);
  });

  it('says FULL and TOO_LARGE, and counts a full ring', () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 1, 1, 'a', ['live://1']);
    const room: PushTarget = { kind: 'rooms', rooms: ['live://1'] };
    expect(node.comet.deliver(push(room, 'x'.repeat(8_193)))).toBe(PUSH_OUTCOME.TOO_LARGE);
    let outcome: string = PUSH_OUTCOME.OK;
    for (let i = 0; i < 100 && outcome === PUSH_OUTCOME.OK; i++)
      outcome = node.comet.deliver(push(room, 'x'.repeat(8_000)));
    expect([outcome, node.counters.get(METRIC.ring_full)]).toEqual([PUSH_OUTCOME.FULL, 1]);
  });

  it('is FULL while answers to buckets wait: no push may come in front of the join that counts it', () => {
    const [bucket] = node.buckets;
    fillControlRing();
    node.connect(bucket, 1, 1, 'a', ['live://1']);
    for (const each of node.buckets) each.take();
    expect(node.comet.deliver(push({ kind: 'rooms', rooms: ['live://1'] }))).toBe(PUSH_OUTCOME.FULL);
    vi.advanceTimersByTime(1);
    expect(node.comet.deliver(push({ kind: 'rooms', rooms: ['live://1'] }))).toBe(PUSH_OUTCOME.OK);
    expect(bucket.take()).toEqual([
      [MESSAGE.CONNECTED, 1, CONNECT_STATUS.STORED, [[1, 1_001, 0]]],
      ['push', 'ROOM_PUSH', 0],
    ]);
  });

  // goim divided the speed by its number of comets: by zero without one, and down to "no limit" (W12).
  it('splits the speed of a push to all over the buckets that are up, never below 1 and never by zero', () => {
    const [first, second, third] = node.buckets;
    const speeds = (speedPerSec: number) => {
      expect(node.comet.deliver(push({ kind: 'all', speedPerSec }))).toBe(PUSH_OUTCOME.OK);
      return [first, second, third].map((bucket) => bucket.take().map((heard) => (heard as unknown[])[2]));
    };
    expect(speeds(10)).toEqual([[], [], []]);
    node.comet.bucketReady(1);
    node.comet.bucketReady(2);
    expect(speeds(10)).toEqual([[5], [5], []]);
    expect(speeds(1)).toEqual([[1], [1], []]);
    expect(speeds(0)).toEqual([[0], [0], []]);
    node.comet.bucketReady(3);
    expect(speeds(100)).toEqual([[33], [33], [33]]);
  });

  it('reaches a bucket with channels also before the supervisor has called it ready', () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 1, 1, 'a');
    bucket.take();
    node.comet.deliver(push({ kind: 'all', speedPerSec: 0 }));
    expect(bucket.take()).toEqual([['push', 'ALL_PUSH', 0]]);
  });
});

describe('an administrative call', () => {
  it('asks each bucket for its channels, once each, and adds their counts', async () => {
    const [first, second, third] = node.buckets;
    node.connect(first, 1, 1, 'a');
    node.connect(first, 2, 1, 'b');
    node.connect(second, 1, 2, 'c');
    for (const bucket of node.buckets) bucket.take();
    const count = node.comet.disconnect({ keys: ['a', 'c', 'nobody'], mids: [1] }, advice);
    expect(first.take()).toEqual([[MESSAGE.CLOSE, 1, [1, 2], 3501, 'bye', false, 250]]);
    expect(second.take()).toEqual([[MESSAGE.CLOSE, 1, [1], 3501, 'bye', false, 250]]);
    expect(third.take()).toEqual([]);
    node.say(first, [MESSAGE.DONE, 1, 2]);
    // A bucket that answers twice, or was not asked, counts for nothing.
    node.say(first, [MESSAGE.DONE, 1, 2]);
    node.say(third, [MESSAGE.DONE, 1, 9]);
    node.say(second, [MESSAGE.DONE, 1, 1]);
    expect(await count).toBe(3);
    node.say(second, [MESSAGE.DONE, 1, 1]);
  });

  it('moves channels into rooms and out of them', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 4, 1, 'a');
    bucket.take();
    const joined = node.comet.joinRooms({ keys: ['a'], mids: [] }, ['live://1']);
    const left = node.comet.leaveRooms({ keys: [], mids: [1] }, ['live://2']);
    expect(bucket.take()).toEqual([
      [MESSAGE.JOIN, 1, [4], ['live://1']],
      [MESSAGE.LEAVE, 2, [4], ['live://2']],
    ]);
    node.say(bucket, [MESSAGE.DONE, 2, 1]);
    node.say(bucket, [MESSAGE.DONE, 1, 1]);
    expect(await Promise.all([joined, left])).toEqual([1, 1]);
  });

  it('for nobody is answered at once', () => {
    expect(node.comet.disconnect({ keys: ['nobody'], mids: [9] }, advice)).toBe(0);
  });

  it('ends at its deadline with what was answered so far, and says which buckets were silent', async () => {
    const [first, second] = node.buckets;
    node.connect(first, 1, 1, 'a');
    node.connect(second, 1, 1, 'b');
    const count = node.comet.disconnect({ keys: [], mids: [1] }, advice);
    node.say(second, [MESSAGE.DONE, 1, 1]);
    vi.advanceTimersByTime(REQUEST_TIMEOUT_MS);
    expect(await count).toBe(1);
    expect(node.log.records).toMatchObject([{ level: 'warn', fields: { waitingMask: 0b0010 } }]);
    node.say(first, [MESSAGE.DONE, 1, 1]);
  });

  it('ends when the comet is closed', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 1, 1, 'a');
    const count = node.comet.disconnect({ keys: ['a'], mids: [] }, advice);
    node.comet.close();
    expect([await count, vi.getTimerCount()]).toEqual([0, 0]);
  });
});

describe('what an application in a bucket asks for', () => {
  it("a push goes through the same queue as everyone's, and its outcome comes back", () => {
    const [bucket] = node.buckets;
    const pushed: PushCommand[] = [];
    const pusher = {
      push: (command: PushCommand) => {
        pushed.push(command);
        return PUSH_OUTCOME.FULL;
      },
    };
    node.comet.connect({ pusher, onShutdown: () => {} });
    const target = { kind: 'keys', keys: ['a'] };
    node.say(bucket, [MESSAGE.PUBLISH, 3, target, 1000, new Uint8Array([1, 2])]);
    expect(pushed).toEqual([{ target, op: 1000, body: new Uint8Array([1, 2]) }]);
    expect(bucket.take()).toEqual([[MESSAGE.PUBLISHED, 3, PUSH_OUTCOME.FULL]]);
    // Nobody waits for this one: what was not taken is counted instead.
    node.say(bucket, [MESSAGE.PUBLISH, 0, target, 1000, new Uint8Array([1])]);
    expect([bucket.take(), node.counters.get(METRIC.dead_letters)]).toEqual([[], 1]);
  });

  it('a push before anything is wired is answered CLOSED', () => {
    const [bucket] = node.buckets;
    node.say(bucket, [MESSAGE.PUBLISH, 3, { kind: 'all', speedPerSec: 0 }, 1000, new Uint8Array(0)]);
    expect(bucket.take()).toEqual([[MESSAGE.PUBLISHED, 3, PUSH_OUTCOME.CLOSED]]);
  });

  it('a shutdown is passed on', () => {
    const onShutdown = vi.fn();
    node.comet.connect({ pusher: { push: () => PUSH_OUTCOME.OK }, onShutdown });
    node.say(node.buckets[0], [MESSAGE.SHUTDOWN]);
    expect(onShutdown).toHaveBeenCalledOnce();
  });
});

describe('upstream', () => {
  const told: string[] = [];
  beforeEach(() => {
    node.close();
    told.length = 0;
    node = startControlNode(undefined, undefined, undefined, {
      connected: (session, previous) => void told.push(`connected ${session.connId} ${previous?.connId}`),
      disconnected: (session, reason) => {
        told.push(
          `disconnected ${session.connId} ${reason}, devices left ${node.sessions.byMids([session.mid]).length}`,
        );
      },
      message: () => {},
      room: () => {},
    });
  });

  it('hears of a session when it is stored and when it is out of the directory, and of a takeover once', () => {
    const [first, second] = node.buckets;
    node.connect(first, 7, 42, 'device');
    node.connect(second, 8, 42, 'device');
    node.say(first, [MESSAGE.DISCONNECT, 7, 'device', 3500]);
    node.connect(second, 9, 43, 'device');
    node.say(second, [MESSAGE.DISCONNECT, 8, 'device', 3003]);
    expect(told).toEqual(['connected 7 undefined', 'connected 8 7', 'disconnected 8 idle, devices left 0']);
  });

  it('hears of every channel of a bucket that died', () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 1, 42, 'phone');
    node.connect(bucket, 2, 42, 'tablet');
    told.length = 0;
    node.comet.bucketLost(bucket.thread);
    expect(told).toEqual([
      'disconnected 1 bucket failed, devices left 0',
      'disconnected 2 bucket failed, devices left 0',
    ]);
  });
});
