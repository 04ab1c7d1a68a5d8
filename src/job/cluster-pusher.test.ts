import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import type { BusNodeMessage } from '../protocol/index.js';
import type { ClusterBus, PushCommand, PushTarget, Session } from '../push/index.js';
import { memoryLog } from '../telemetry/index.js';
import { ClusterPusher } from './cluster-pusher.js';

const OPTIONS = { maxCount: 8, maxBytes: 10_000, messageMaxBytes: 1_000 };
const session = (key: string, mid: number, serverId: string): Session => ({
  key,
  mid,
  serverId,
  nodeEpoch: 1,
  bucket: 1,
  connId: 1,
  platform: '',
  remoteIp: '',
  sinceMs: 0,
});
const SESSIONS = [session('k1', 1, 'a'), session('k2', 2, 'b'), session('k3', 2, 'b'), session('k4', 2, 'c')];

interface Deferred {
  resolve(): void;
  reject(): void;
}

/** What stands around a pusher: a bus that keeps what is published and answers at once or when told, and lookups that do. */
class World {
  isUp = true;
  readonly published: string[] = [];
  readonly told: string[] = [];
  /** How much was published at each flush(). */
  readonly flushedAt: number[] = [];
  readonly envelopes: { readonly messageId?: Uint8Array }[] = [];
  /** With it on, publishes wait in `publishing`. */
  isHolding = false;
  readonly publishing: Deferred[] = [];
  /** With it on, lookups wait in `lookingUp`. */
  isSlow = false;
  readonly lookingUp: Deferred[] = [];
  idsLeft = Number.POSITIVE_INFINITY;
  #id = 0;
  readonly log = memoryLog();

  readonly bus: ClusterBus = (() => {
    const world = this;
    return {
      serverId: 'a',
      get isUp() {
        return world.isUp;
      },
      flush: () => world.flushedAt.push(world.published.length),
      mayBeLost: (scope) => world.told.push(scope.kind === 'room' ? `room ${scope.room}` : scope.kind),
      publishRoom: (room, message) => world.#publish(`room ${room}`, message),
      publishAll: (message) => world.#publish(`all at ${message.speedPerSec}`, message),
      publishNode: (serverId, message: BusNodeMessage) =>
        world.#publish(
          message.kind === 'keys'
            ? `${serverId} keys ${message.keys.join()}${message.ignoresWatchSet ? '!' : ''}`
            : message.kind === 'mids'
              ? `${serverId} mids ${message.mids.join()}`
              : message.kind,
          message as { messageId?: Uint8Array; body: Uint8Array },
        ),
    };
  })();

  readonly pusher = new ClusterPusher(OPTIONS, {
    bus: this.bus,
    sessions: {
      byKeys: (keys) => this.#lookUp(() => keys.map((key) => SESSIONS.find((one) => one.key === key))),
      byMids: (mids) => this.#lookUp(() => SESSIONS.filter(({ mid }) => mids.includes(mid))),
    },
    ids: {
      tryWriteTo: (bytes, offset) => {
        if (this.idsLeft <= 0) return OUTCOME.CLOSED;
        this.idsLeft -= 1;
        this.#id += 1;
        bytes[offset + 7] = this.#id;
        return OUTCOME.OK;
      },
    },
    liveNodeCount: () => 4,
    history: {
      hasHistory: (room) => room.startsWith('hist'),
      appender: {
        append: async (room, _op, body, messageId) => {
          await this.#publish(`append ${room}`, { body, messageId });
        },
      },
    },
    log: this.log.logger,
  });

  #publish(text: string, message: { readonly messageId?: Uint8Array; readonly body: Uint8Array }): Promise<number> {
    this.published.push(`${text} ${message.body[0]}`);
    this.envelopes.push(message);
    if (!this.isHolding) return Promise.resolve(1);
    return new Promise((resolve, reject) => {
      this.publishing.push({ resolve: () => resolve(1), reject: () => reject(new Error('broken')) });
    });
  }

  #lookUp<T>(find: () => T): Promise<T> {
    if (!this.isSlow) return Promise.resolve(find());
    return new Promise((resolve, reject) => {
      this.lookingUp.push({ resolve: () => resolve(find()), reject: () => reject(new Error('away')) });
    });
  }
}

const push = (target: PushTarget, id: number, bodyBytes = 1): PushCommand => {
  const body = new Uint8Array(bodyBytes);
  body[0] = id;
  return { target, op: 1000, body };
};
const toRooms = (id: number, ...rooms: string[]) => push({ kind: 'rooms', rooms }, id);
const toKeys = (id: number, ...keys: string[]) => push({ kind: 'keys', keys }, id);
const toMids = (id: number, ...mids: number[]) => push({ kind: 'mids', mids }, id);
const settle = () => vi.advanceTimersByTimeAsync(1);

let world: World;
beforeEach(() => {
  vi.useFakeTimers();
  world = new World();
});
afterEach(() => void vi.useRealTimers());

describe('the pusher of a cluster', () => {
  it('publishes once per room, once per node that has a key or mid, and once for all', async () => {
    expect(world.pusher.push(toRooms(1, 'r1', 'r2', 'r1'))).toBe('ok');
    expect(world.pusher.push(toKeys(2, 'k1', 'k2', 'k3', 'k2', 'nobody'))).toBe('ok');
    expect(world.pusher.push(toMids(3, 2, 1, 2, 99))).toBe('ok');
    expect(world.pusher.push(push({ kind: 'all', speedPerSec: 100 }, 4))).toBe('ok');
    expect(world.pusher.push(push({ kind: 'keys', keys: ['k1'], ignoresWatchSet: true }, 5))).toBe('ok');
    await settle();
    expect(world.published).toEqual([
      'room r1 1',
      'room r2 1',
      'a keys k1 2',
      'b keys k2,k3 2',
      'a mids 1 3',
      'b mids 2 3',
      'c mids 2 3',
      'all at 25 4',
      'a keys k1! 5',
    ]);
    expect(world.pusher.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 0, rejectedCount: 0 });
  });

  it('draws one id per room and per push, and keeps the one that a push has', async () => {
    world.pusher.push(toRooms(1, 'r1', 'r2'));
    world.pusher.push(toKeys(2, 'k1', 'k2'));
    world.pusher.push({ ...toRooms(3, 'r1'), messageId: new Uint8Array(8).fill(200) });
    await settle();
    expect(world.envelopes.map(({ messageId }) => messageId?.[7])).toEqual([1, 2, 3, 3, 200]);
  });

  it('publishes rooms in the turn of the call, and nothing overtakes a lookup', async () => {
    world.pusher.push(toRooms(1, 'r'));
    expect(world.published).toEqual(['room r 1']);
    world.isSlow = true;
    world.pusher.push(toKeys(2, 'k1'));
    world.pusher.push(toKeys(3, 'k2'));
    world.pusher.push(toRooms(4, 'r'));
    expect(world.lookingUp).toHaveLength(2);
    world.lookingUp[1]?.resolve();
    await settle();
    expect(world.published).toHaveLength(1);
    world.lookingUp[0]?.resolve();
    await settle();
    expect(world.published.slice(1)).toEqual(['a keys k1 2', 'b keys k2 3', 'room r 4']);
  });

  it('appends to rooms with history instead of publishing', async () => {
    world.pusher.push(toRooms(1, 'hist://1', 'live://1'));
    await settle();
    expect(world.published).toEqual(['append hist://1 1', 'room live://1 1']);
  });

  it('appends behind what it has published before, also where the bus collects that', async () => {
    world.pusher.push(toRooms(1, 'live://1', 'live://2', 'hist://1', 'live://3'));
    await settle();
    expect(world.published).toEqual(['room live://1 1', 'room live://2 1', 'append hist://1 1', 'room live://3 1']);
    expect(world.flushedAt).toEqual([2]);
  });

  it('is full while Redis is away, without ids, and when its bounds are reached', async () => {
    world.isUp = false;
    expect(world.pusher.push(toRooms(1, 'r'))).toBe('full');
    world.isUp = true;
    world.idsLeft = 1;
    expect(world.pusher.push(toRooms(1, 'r1', 'r2'))).toBe('full');
    world.idsLeft = Number.POSITIVE_INFINITY;
    world.isHolding = true;
    for (let id = 1; id <= 4; id++) expect(world.pusher.push(toRooms(id, 'r1', 'r2'))).toBe('ok');
    expect(world.pusher.push(toRooms(5, 'r'))).toBe('full');
    expect(world.pusher.gauges()).toMatchObject({ queuedCount: 8, rejectedCount: 3 });
    world.publishing[0]?.resolve();
    world.publishing[1]?.resolve();
    await settle();
    expect(world.pusher.push(push({ kind: 'rooms', rooms: ['r'] }, 6, 1_000))).toBe('ok');
    expect(world.pusher.push(push({ kind: 'all', speedPerSec: 0 }, 7, 1_001))).toBe('too_large');
    expect(world.pusher.push(toRooms(8, ...Array.from({ length: 9 }, (_, index) => `r${index}`)))).toBe('too_large');
    for (const one of world.publishing) one.resolve();
    await settle();
    expect(world.pusher.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 0 });
  });

  it('counts and logs what was lost in flight or could not be looked up, and goes on', async () => {
    world.isHolding = true;
    world.isSlow = true;
    world.pusher.push(toRooms(1, 'r1', 'r2'));
    world.pusher.push(toKeys(2, 'k1'));
    world.pusher.push(toRooms(3, 'r1'));
    world.publishing[1]?.reject();
    world.lookingUp[0]?.reject();
    await settle();
    expect(world.pusher.gauges().lostCount).toBe(2);
    expect(world.published).toEqual(['room r1 1', 'room r2 1', 'room r1 3']);
    expect(world.log.records.map(({ level, message }) => [level, message])).toEqual([
      ['warn', 'a push to the cluster may be lost; whom it was for is told a Gap'],
    ]);
    for (const one of world.publishing) one.resolve();
    await settle();
    expect(world.pusher.gauges().queuedCount).toBe(0);
    // What the bus could not publish it tells itself; whom a lookup would have found nobody knows.
    expect(world.told).toEqual(['direct']);
    world.pusher.push(toRooms(4, 'hist'));
    world.publishing.at(-1)?.reject();
    await settle();
    expect(world.told).toEqual(['direct', 'room hist']);
  });

  it('says in numbers why it refuses', () => {
    world.isUp = false;
    expect(world.pusher.push(toRooms(1, 'r'))).toBe('full');
    world.isUp = true;
    world.idsLeft = 0;
    expect(world.pusher.push(toRooms(2, 'r'))).toBe('full');
    expect(world.pusher.gauges()).toMatchObject({ rejectedCount: 2, awayCount: 1, idsStoppedCount: 1 });
    expect(world.log.records[0]?.fields).toMatchObject({
      reason: 'Redis does not answer',
      maxCount: OPTIONS.maxCount,
      heldCount: 0,
    });
  });

  it('drains until Redis has answered everything, and says so when the time is over first', async () => {
    expect(await world.pusher.drain(0)).toBe(true);
    world.isHolding = true;
    world.pusher.push(toRooms(1, 'r'));
    expect(await world.pusher.drain(0)).toBe(false);
    const late = world.pusher.drain(50);
    await vi.advanceTimersByTimeAsync(60);
    expect(await late).toBe(false);
    const drained = world.pusher.drain(50);
    world.publishing[0]?.resolve();
    await settle();
    expect(await drained).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is closed after close(), and what waited for a lookup is counted as lost', async () => {
    world.isSlow = true;
    world.pusher.push(toKeys(1, 'k1'));
    world.pusher.push(toRooms(2, 'r'));
    world.pusher.close();
    expect(world.pusher.push(toRooms(3, 'r'))).toBe('closed');
    world.lookingUp[0]?.resolve();
    await settle();
    expect([world.published, world.pusher.gauges()]).toEqual([
      [],
      expect.objectContaining({ queuedCount: 0, queuedBytes: 0, lostCount: 2, rejectedCount: 0 }),
    ]);
  });

  it('keeps the order of the calls whatever the order of the lookups, within its bounds', async () => {
    const step = fc.record({
      kind: fc.constantFrom('room', 'key', 'found', 'acknowledged'),
      at: fc.nat({ max: 20 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const one = new World();
        one.isSlow = true;
        one.isHolding = true;
        const accepted: string[] = [];
        let id = 0;
        for (const { kind, at } of steps) {
          if (kind === 'found') one.lookingUp.splice(at % (one.lookingUp.length || 1), 1)[0]?.resolve();
          else if (kind === 'acknowledged') one.publishing.splice(at % (one.publishing.length || 1), 1)[0]?.resolve();
          else {
            id += 1;
            const isRoom = kind === 'room';
            if (one.pusher.push(isRoom ? toRooms(id, 'r') : toKeys(id, 'k1')) === 'ok') {
              accepted.push(isRoom ? `room r ${id}` : `a keys k1 ${id}`);
            }
          }
          await settle();
          expect(one.pusher.gauges().queuedCount).toBeLessThanOrEqual(OPTIONS.maxCount);
          expect(one.published).toEqual(accepted.slice(0, one.published.length));
        }
        one.isHolding = false;
        for (const waiting of [...one.lookingUp, ...one.publishing]) waiting.resolve();
        await settle();
        expect(one.published).toEqual(accepted);
        expect(one.pusher.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 0 });
      }),
      { numRuns: 80 },
    );
  });
});
