import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventually } from '../../test/kit/index.js';
import { ManualClock } from '../clock/index.js';
import { HistoryRules } from '../config/index.js';
import { OUTCOME, type Outcome } from '../errors/index.js';
import { PUSH_OUTCOME, type PushOutcome } from '../push/index.js';
import { MemoryHistory } from '../store/index.js';
import { InMemoryRing, testIds } from './fixtures/in-memory-ring.js';
import { ModelHistory } from './fixtures/model-history.js';
import { EPOCH_OFFSET, INNER_OFFSET, OFFSET_OFFSET, RAW_KIND, SPEED_OFFSET } from './push-record.layout.js';
import { type PlacedMessage, RoomSequence } from './room-sequence.js';
import { Sequencer } from './sequencer.js';

const ROOM = 'live://1';
const THREAD = 1;
const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A node with one room, a history it asks, and a bus whose messages wait until the test delivers them. */
class Rig {
  readonly history: ModelHistory;
  readonly memory: MemoryHistory;
  readonly ring = new InMemoryRing(1024 * 1024);
  readonly sequencer: Sequencer;
  readonly sequence: RoomSequence;
  /** On the bus, not delivered yet. */
  readonly bus: PlacedMessage[] = [];
  /** What has ever been published at a place. */
  readonly published = new Map<string, Set<string>>();
  /** What a member sees: `epoch offset text`, `gap epoch to`. */
  readonly seen: string[] = [];
  readonly errors: unknown[] = [];
  isFull = false;
  subscribed = true;
  unlinkedCount = 0;
  #number = 0;
  #epoch = 0;
  #last = 0;
  gapCount = 0;

  constructor(keptCount = 1_000) {
    this.history = new ModelHistory(keptCount);
    this.memory = new MemoryHistory({
      rules: new HistoryRules(['*:50:600']),
      maxBytes: 1_000_000,
      firstEpoch: 5,
      clock: new ManualClock(0),
    });
    this.sequencer = new Sequencer(this.ring.writer, testIds().ids, {
      roomCapacity: 4,
      firstEpoch: 5,
      maxBodyBytes: 100,
      history: this.memory,
      placesAreGiven: true,
    });
    const outcomeOf = (outcome: Outcome): PushOutcome => (outcome === OUTCOME.OK ? PUSH_OUTCOME.OK : PUSH_OUTCOME.FULL);
    this.sequence = new RoomSequence(
      {
        heldMaxMessages: 6,
        heldMaxBytes: 1_000,
        rangeMaxMessages: 4,
        rangeMaxBytes: 1_000,
        retryMs: 1,
        lingerMs: 10_000,
      },
      {
        rooms: {
          link: () => (this.subscribed ? undefined : this.#subscribe()),
          unlink: () => {
            this.unlinkedCount += 1;
          },
        },
        history: this.history,
        memory: this.memory,
        comet: {
          deliver: ({ op, body, messageId, place }) =>
            this.isFull ? PUSH_OUTCOME.FULL : outcomeOf(this.sequencer.pushRoom(ROOM, op, body, messageId, place)),
          placeRoom: (room, place, tellsGap) =>
            this.isFull ? PUSH_OUTCOME.FULL : outcomeOf(this.sequencer.placeRoom(room, place, tellsGap)),
        },
        onError: (error) => this.errors.push(error),
      },
    );
  }

  async #subscribe(): Promise<void> {
    await tick();
    this.subscribed = true;
  }

  publish(): void {
    this.#number += 1;
    const messageId = new Uint8Array(8);
    new DataView(messageId.buffer).setUint32(4, this.#number);
    const text = `m${this.#number}`;
    const body = Buffer.from(text);
    const place = this.history.publish(messageId, body);
    const key = `${place.epoch} ${place.offset}`;
    this.published.set(key, (this.published.get(key) ?? new Set()).add(text));
    this.bus.push({ place, op: 1000, messageId, body });
  }

  deliver(index = 0, keep = false): void {
    const message = this.bus[index % Math.max(1, this.bus.length)];
    if (message === undefined) return;
    if (!keep) this.bus.splice(this.bus.indexOf(message), 1);
    this.sequence.receive(ROOM, message);
  }

  /** The first member: link, then occupy, as CometControl does. */
  async join(): Promise<void> {
    const linking = this.sequence.link(ROOM);
    let done = linking === undefined;
    void Promise.resolve(linking).then(() => {
      done = true;
    });
    while (!done) {
      await tick();
      this.history.compute();
      this.history.answer();
    }
    const [, epoch, offset] = this.sequencer.occupy(ROOM, THREAD);
    this.ring.read(THREAD);
    this.#epoch = epoch;
    this.#last = offset;
  }

  /** Read what the members were sent, and check that nothing is missing, repeated or wrong in it. */
  check(): void {
    for (const { kind, bytes } of this.ring.read(THREAD)) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const offset = view.getFloat64(OFFSET_OFFSET, true);
      if (kind === RAW_KIND.ROOM_PLACE) {
        const epoch = view.getFloat64(EPOCH_OFFSET, true);
        const tellsGap = view.getUint32(SPEED_OFFSET, true) === 1;
        // Without a Gap nothing may change for those who are in.
        if (!tellsGap) expect([epoch, offset]).toEqual([this.#epoch, this.#last]);
        else {
          this.gapCount += 1;
          this.seen.push(`gap ${epoch} ${offset}`);
          if (epoch === this.#epoch) expect(offset).toBeGreaterThanOrEqual(this.#last);
        }
        this.#epoch = epoch;
        this.#last = offset;
        continue;
      }
      const text = Buffer.from(
        bytes.subarray(INNER_OFFSET + 16, INNER_OFFSET + view.getInt32(INNER_OFFSET)),
      ).toString();
      this.seen.push(`${this.#epoch} ${offset} ${text}`);
      expect(offset).toBe(this.#last + 1);
      expect([...(this.published.get(`${this.#epoch} ${offset}`) ?? [])]).toContain(text);
      this.#last = offset;
    }
  }

  /** Everything works again, and the bus says that it may have missed something. */
  async heal(mayLackPlace = false): Promise<void> {
    this.history.isAway = false;
    this.isFull = false;
    this.bus.length = 0;
    let isRepaired = false;
    void this.sequence.repair([ROOM], mayLackPlace).then(() => {
      isRepaired = true;
    });
    for (let turn = 0; turn < 2_000 && !(isRepaired && this.#isStill()); turn++) {
      this.history.compute();
      this.history.answer();
      if (turn % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 1));
      else await tick();
      this.check();
    }
    expect([this.#epoch, this.#last]).toEqual([this.history.place.epoch, this.history.place.offset]);
  }

  #isStill(): boolean {
    const { epoch, offset } = this.history.place;
    return this.history.waitingCount === 0 && this.#epoch === epoch && this.#last === offset;
  }
}

describe('RoomSequence', () => {
  it('delivers what comes in order without asking anybody', async () => {
    const rig = new Rig();
    await rig.join();
    for (let i = 0; i < 5; i++) rig.publish();
    while (rig.bus.length > 0) rig.deliver();
    rig.check();
    expect(rig.seen).toEqual([1, 2, 3, 4, 5].map((n) => `1000 ${n} m${n}`));
    expect(rig.history.waitingCount).toBe(0);
    rig.sequence.close();
  });

  it('begins where the room stands when the subscription is acknowledged, and misses nothing behind that', async () => {
    const rig = new Rig();
    rig.subscribed = false;
    for (let i = 0; i < 3; i++) rig.publish();
    rig.bus.length = 0;
    const linking = rig.sequence.link(ROOM);
    expect(rig.history.waitingCount).toBe(0);
    await eventually(() => rig.history.waitingCount === 1);
    expect(rig.subscribed).toBe(true);
    rig.history.compute();
    // Between the reading of the position and its arrival: the bus is faster.
    rig.publish();
    rig.deliver();
    rig.history.answer();
    await tick();
    rig.history.compute();
    rig.history.answer();
    await linking;
    const [, epoch, offset] = rig.sequencer.occupy(ROOM, THREAD);
    expect([epoch, offset]).toEqual([1000, 4]);
    expect(rig.memory.existing(ROOM)?.count).toBe(1);
    rig.sequence.close();
  });

  it('holds what came early, fetches what is missing and drops repeats', async () => {
    const rig = new Rig();
    await rig.join();
    for (let i = 0; i < 4; i++) rig.publish();
    rig.bus.splice(1, 1);
    rig.deliver(0, true);
    rig.deliver(0);
    rig.deliver(1);
    rig.deliver(0);
    rig.check();
    expect(rig.seen).toEqual(['1000 1 m1']);
    await rig.heal();
    expect(rig.seen).toEqual([1, 2, 3, 4].map((n) => `1000 ${n} m${n}`));
    rig.sequence.close();
  });

  it('delivers what there is behind a Gap of the right extent where the missing ones are not kept', async () => {
    const rig = new Rig(3);
    await rig.join();
    rig.publish();
    rig.deliver();
    for (let i = 0; i < 9; i++) rig.publish();
    await rig.heal();
    expect(rig.seen).toEqual(['1000 1 m1', 'gap 1000 7', '1000 8 m8', '1000 9 m9', '1000 10 m10']);
    rig.sequence.close();
  });

  it('tells a Gap in a new epoch and goes on from its first message', async () => {
    const rig = new Rig();
    await rig.join();
    rig.publish();
    rig.deliver();
    rig.history.lose();
    rig.publish();
    rig.publish();
    rig.deliver();
    await rig.heal();
    expect(rig.seen).toEqual(['1000 1 m1', 'gap 1001 0', '1001 1 m2', '1001 2 m3']);
    rig.sequence.close();
  });

  // A failover to a replica that was behind gives delivered offsets to other messages: they looked like repeats.
  it('ends the life of a room whose history went back behind what was delivered', async () => {
    const rig = new Rig();
    await rig.join();
    for (let i = 0; i < 3; i++) rig.publish();
    for (let i = 0; i < 3; i++) rig.deliver();
    rig.history.rewind(2);
    rig.publish();
    rig.deliver();
    await rig.heal();
    expect(rig.seen).toEqual(['1000 1 m1', '1000 2 m2', '1000 3 m3', 'gap 1001 0']);
    rig.publish();
    rig.deliver();
    rig.check();
    expect(rig.seen.at(-1)).toBe('1001 1 m5');
    rig.sequence.close();
  });

  it('tells members who were let in while Redis was away a Gap, and then follows', async () => {
    const rig = new Rig();
    rig.publish();
    rig.history.isAway = true;
    const linking = rig.sequence.link(ROOM);
    await tick();
    rig.history.answer();
    await linking;
    rig.sequencer.occupy(ROOM, THREAD);
    expect(rig.errors).toHaveLength(1);
    rig.history.isAway = false;
    await rig.heal();
    expect(rig.seen).toEqual(['gap 1000 1']);
    rig.sequence.close();
  });

  it('tells a Gap where the room stands when something was lost that never got a place, and goes on behind it', async () => {
    const rig = new Rig();
    await rig.join();
    rig.publish();
    rig.deliver();
    rig.publish();
    // What has a place is fetched, and without a loss that is all.
    await rig.heal();
    expect(rig.seen).toEqual(['1000 1 m1', '1000 2 m2']);
    await rig.heal(true);
    rig.publish();
    rig.deliver();
    rig.check();
    expect(rig.seen.slice(2)).toEqual(['gap 1000 2', '1000 3 m3']);
    // It costs nobody the recovery of what is kept.
    expect(rig.memory.existing(ROOM)!.count).toBe(3);
    rig.sequence.close();
  });

  it('keeps what the full comet refused, in order, and offers it again', async () => {
    const rig = new Rig();
    await rig.join();
    rig.isFull = true;
    for (let i = 0; i < 20; i++) rig.publish();
    while (rig.bus.length > 0) rig.deliver();
    rig.check();
    expect(rig.seen).toEqual([]);
    await rig.heal();
    expect(rig.seen).toHaveLength(20);
    expect(rig.gapCount).toBe(0);
    rig.sequence.close();
  });

  it('follows a room for a while after its last member, and needs no question when one returns', async () => {
    const rig = new Rig();
    await rig.join();
    rig.sequencer.vacate(rig.sequencer.roomNo(ROOM), THREAD);
    rig.sequence.unlink(ROOM);
    rig.publish();
    rig.deliver();
    expect(rig.unlinkedCount).toBe(1);
    expect(rig.sequence.link(ROOM)).toBeUndefined();
    expect(rig.sequencer.occupy(ROOM, THREAD).slice(1)).toEqual([1000, 1]);
    expect(rig.memory.existing(ROOM)?.messageAt(1)).toBeDefined();
    rig.sequence.close();
  });

  it('leaves rooms without history to the bus', () => {
    const rig = new Rig();
    rig.history.hasHistory = () => false;
    expect(rig.sequence.link('other://1')).toBeUndefined();
    rig.sequence.unlink('other://1');
    expect([rig.sequence.roomCount, rig.unlinkedCount]).toEqual([0, 1]);
  });
});

type Step = readonly [kind: string, index: number];

async function run(rig: Rig, steps: readonly Step[]): Promise<void> {
  await rig.join();
  for (const [kind, index] of steps) {
    if (kind === 'publish') rig.publish();
    else if (kind === 'deliver') rig.deliver();
    else if (kind === 'reorder') rig.deliver(index);
    else if (kind === 'repeat') rig.deliver(index, true);
    else if (kind === 'drop') rig.bus.splice(index % Math.max(1, rig.bus.length), 1);
    else if (kind === 'compute') rig.history.compute();
    else if (kind === 'answer') rig.history.answer();
    else if (kind === 'lose') rig.history.lose();
    else if (kind === 'rewind') rig.history.rewind(1 + (index % 3));
    else if (kind === 'away') rig.history.isAway = !rig.history.isAway;
    else if (kind === 'full') rig.isFull = !rig.isFull;
    if (index % 2 === 0) await tick();
    rig.check();
  }
  await rig.heal();
  // And it goes on as if nothing had been.
  const before = rig.seen.length;
  rig.publish();
  rig.deliver();
  // Where the comet was full a moment ago, with the next attempt.
  await eventually(() => {
    rig.check();
    return rig.seen.length > before;
  });
  expect(rig.seen.length).toBe(before + 1);
  rig.sequence.close();
}

const stepsOf = (kinds: readonly string[]) =>
  fc.array(fc.tuple(fc.constantFrom(...kinds), fc.nat(20)), { minLength: 5, maxLength: 60 });
const TRAFFIC = ['publish', 'publish', 'publish', 'deliver', 'deliver', 'compute', 'answer'];

describe('over a bus that loses, repeats and reorders', () => {
  it('members see every message once and in order while the history keeps what is missing', async () => {
    await fc.assert(
      fc.asyncProperty(stepsOf([...TRAFFIC, 'reorder', 'repeat', 'drop', 'full', 'away']), async (steps) => {
        const rig = new Rig();
        await run(rig, steps);
        expect(rig.gapCount).toBe(0);
        expect(rig.seen).toEqual(rig.seen.map((_, index) => `1000 ${index + 1} m${index + 1}`));
      }),
      { numRuns: 250 },
    );
  }, 60_000);

  it('members see a gapless sequence or an explicit Gap, whatever the history forgets', async () => {
    await fc.assert(
      fc.asyncProperty(stepsOf([...TRAFFIC, 'reorder', 'repeat', 'drop', 'full', 'away', 'lose']), (steps) =>
        run(new Rig(4), steps),
      ),
      { numRuns: 250 },
    );
  }, 60_000);

  it('members hear a Gap when the history goes back behind what they have', async () => {
    await fc.assert(
      fc.asyncProperty(stepsOf([...TRAFFIC, 'rewind', 'full', 'away']), (steps) => run(new Rig(30), steps)),
      { numRuns: 250 },
    );
  }, 60_000);
});
