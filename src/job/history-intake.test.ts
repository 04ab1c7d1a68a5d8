import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { OUTCOME } from '../errors/index.js';
import type { LedgerAppend, LedgerEntry, NodeRecord, PushLedger } from '../push/index.js';
import { memoryLog } from '../telemetry/index.js';
import { HistoryIntake, STAND_BY_MS, STEP_MS } from './history-intake.js';

const ROOM = 'kept://1';
const TICK_MS = 50;

/** A room's record as Redis keeps it, in order of the calls; what `failing` says is carried out, or not, and not answered. */
class MemoryLedger implements PushLedger {
  readonly windowMs = 15_000;
  readonly bodies: string[] = [];
  readonly #record: LedgerEntry[] = [];
  #writer = '';
  failing: 'no' | 'before' | 'after' = 'no';
  claimCount = 0;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  async claim(_room: string, writer: string, afterId: string, maxCount: number) {
    this.#fail('before');
    this.claimCount += 1;
    this.#writer = writer;
    this.#fail('after');
    return this.#after(afterId, maxCount);
  }

  async read(_room: string, afterId: string, maxCount: number) {
    this.#fail('before');
    return this.#after(afterId, maxCount);
  }

  async append(_room: string, writer: string, { body, commandHash }: LedgerAppend) {
    this.#fail('before');
    if (writer !== this.#writer) return undefined;
    this.bodies.push(new TextDecoder().decode(body));
    const entryId = `${Math.floor(this.#clock.nowMs())}-${this.#record.length}`;
    this.#record.push({ entryId, commandHash });
    this.#fail('after');
    return entryId;
  }

  #after(afterId: string, maxCount: number): readonly LedgerEntry[] {
    const index = this.#record.findIndex(({ entryId }) => entryId === afterId);
    return this.#record.slice(index + 1, index + 1 + maxCount);
  }

  #fail(when: 'before' | 'after'): void {
    if (this.failing === when) throw new Error('no answer');
  }
}

interface Node {
  readonly serverId: string;
  readonly intake: HistoryIntake;
  isDeaf: boolean;
  isDead: boolean;
}

class Channel {
  readonly clock = new ManualClock(1_000_000);
  readonly ledger = new MemoryLedger(this.clock);
  readonly nodes: Node[];
  readonly sent: string[] = [];
  live: string[];
  #id = 0;

  constructor(count: number) {
    this.live = Array.from({ length: count }, (_, index) => `node-${index}`);
    this.nodes = this.live.map((serverId) => this.#start(serverId));
  }

  add(serverId: string): void {
    this.live.push(serverId);
    this.nodes.push(this.#start(serverId));
  }

  #start(serverId: string): Node {
    const records = () => this.live.map((id) => ({ serverId: id }) as NodeRecord);
    const ids = {
      tryWriteTo: (bytes: Uint8Array, offset: number) => {
        this.#id += 1;
        new DataView(bytes.buffer).setBigUint64(offset, BigInt(this.#id));
        return OUTCOME.OK;
      },
    };
    const parts = { ledger: this.ledger, directory: { serverId, live: records }, writer: serverId, ids };
    const intake = new HistoryIntake(
      { maxCount: 10_000, maxBytes: 1_000_000 },
      { ...parts, clock: this.clock, log: memoryLog().logger },
    );
    return { serverId, intake, isDeaf: false, isDead: false };
  }

  publish(text: string): void {
    this.sent.push(text);
    for (const { intake, isDeaf, isDead } of this.nodes) {
      if (!isDeaf && !isDead) intake.take(ROOM, 1000, new TextEncoder().encode(text), text);
    }
  }

  /** The subscriptions are restored. */
  hear(node: Node): void {
    if (!node.isDeaf) return;
    node.isDeaf = false;
    node.intake.missed();
  }

  async pass(ms: number): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += TICK_MS) {
      this.clock.advance(TICK_MS);
      vi.advanceTimersByTime(TICK_MS);
      for (let turn = 0; turn < 8; turn++) await Promise.resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Who appends as things are: the one that has appended most. */
  get first(): Node {
    return this.nodes.reduce((best, node) =>
      node.intake.gauges().appendedCount > best.intake.gauges().appendedCount ? node : best,
    );
  }

  get lostCount(): number {
    return this.nodes.reduce((sum, { intake }) => sum + intake.gauges().lostCount, 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ intake }) => intake.close()));
  }
}

let channel: Channel;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(async () => {
  await channel.close();
  vi.useRealTimers();
});

async function started(count: number): Promise<Channel> {
  channel = new Channel(count);
  await channel.pass(STAND_BY_MS);
  return channel;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `m${from + index}`);

describe('the intake of rooms with history', () => {
  it('alone appends at once, also right behind the start', async () => {
    channel = new Channel(1);
    for (const text of range(0, 100)) channel.publish(text);
    await channel.pass(100);
    expect(channel.ledger.bodies).toEqual(range(0, 100));
    expect(channel.nodes[0]!.intake.gauges()).toEqual({
      heldCount: 0,
      appendedCount: 100,
      stoodInCount: 0,
      lostCount: 0,
    });
  });

  it('of five nodes lets one append, once and in order, same bytes as often as they were published', async () => {
    await started(5);
    const texts = range(0, 50).flatMap((text) => [text, 'same', 'same']);
    for (const text of texts) {
      channel.publish(text);
      if (text === 'm25') await channel.pass(100);
    }
    await channel.pass(3 * STEP_MS);
    expect(channel.ledger.bodies).toEqual(texts);
    expect(channel.ledger.claimCount).toBe(1);
    expect(channel.nodes.filter(({ intake }) => intake.gauges().appendedCount > 0)).toHaveLength(1);
    // Who stood by has looked, and keeps nothing.
    expect(channel.nodes.map(({ intake }) => intake.gauges().heldCount)).toEqual([0, 0, 0, 0, 0]);
  });

  it('is made up for within a step where the first has died, long before its lease ends', async () => {
    await started(3);
    for (const text of range(0, 10)) channel.publish(text);
    await channel.pass(100);
    channel.first.isDead = true;
    for (const text of range(10, 20)) channel.publish(text);
    await channel.pass(STEP_MS + 200);
    expect(channel.ledger.bodies).toEqual(range(0, 20));
    // Who stands in goes on at once.
    for (const text of range(20, 30)) channel.publish(text);
    await channel.pass(100);
    expect(channel.ledger.bodies).toEqual(range(0, 30));
    expect([
      channel.lostCount,
      channel.nodes.reduce((sum, { intake }) => sum + intake.gauges().stoodInCount, 0),
    ]).toEqual([0, 1]);
  });

  it('repeats nothing where an append was carried out and its answer lost', async () => {
    await started(2);
    for (const failing of ['after', 'before'] as const) {
      channel.publish(`${failing} 1`);
      await channel.pass(100);
      channel.ledger.failing = failing;
      for (let no = 2; no < 6; no++) channel.publish(`${failing} ${no}`);
      await channel.pass(300);
      channel.ledger.failing = 'no';
      channel.publish(`${failing} 6`);
      await channel.pass(500);
    }
    expect(channel.ledger.bodies).toEqual(channel.sent);
    expect(channel.lostCount).toBe(0);
  });

  it('gives up what a later command overtook, and says so', async () => {
    await started(2);
    channel.publish('m0');
    await channel.pass(100);
    const { first } = channel;
    first.isDeaf = true;
    channel.publish('m1');
    // It hears again and does not know that it missed one.
    first.isDeaf = false;
    channel.publish('m2');
    await channel.pass(3 * STEP_MS);
    expect(channel.ledger.bodies).toEqual(['m0', 'm2']);
    expect(channel.lostCount).toBe(1);
  });

  it('of a process that stood still appends nothing of what it finds in its sockets', async () => {
    await started(2);
    channel.publish('m0');
    await channel.pass(100);
    const { first } = channel;
    for (const node of channel.nodes) node.isDead = node !== first;
    channel.clock.advance(20_000);
    // Timers come first when a process wakes, then the sockets.
    vi.advanceTimersByTime(TICK_MS);
    channel.publish('old');
    await channel.pass(5_000);
    expect(channel.ledger.bodies).toEqual(['m0']);
    channel.publish('new');
    await channel.pass(100);
    expect(channel.ledger.bodies).toEqual(['m0', 'new']);
  });

  it('property: with nodes that die, come, go deaf and get no answers, while one hears all: once, in order, none lost', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('publish'), count: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass'), count: fc.integer({ min: 1, max: 40 }) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constantFrom('deaf', 'hear', 'die', 'leave'),
          count: fc.integer({ min: 1, max: 3 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('before', 'after', 'add'), count: fc.constant(1) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        await channel?.close();
        // Three nodes at most, so that each has a rank; the one of index 0 hears everything.
        await started(2);
        let serial = 0;
        for (const { kind, count } of steps) {
          const node = channel.nodes[Math.min(count, channel.nodes.length - 1)]!;
          if (kind === 'publish') {
            for (let no = 0; no < count; no++) channel.publish(`m${serial++}`);
          } else if (kind === 'pass') await channel.pass(count * TICK_MS);
          else if (kind === 'before' || kind === 'after') {
            channel.ledger.failing = kind;
            await channel.pass(2 * TICK_MS);
            channel.ledger.failing = 'no';
          } else if (kind === 'add') {
            if (channel.nodes.length < 3) channel.add('node-late');
          } else if (node === channel.nodes[0]) continue;
          else if (kind === 'deaf') node.isDeaf = true;
          else if (kind === 'hear') channel.hear(node);
          else if (kind === 'die') node.isDead = true;
          else {
            node.isDead = true;
            channel.live = channel.live.filter((id) => id !== node.serverId);
          }
        }
        await channel.pass(5_000);
        expect(channel.ledger.bodies).toEqual(channel.sent);
      }),
      { numRuns: 60 },
    );
  }, 60_000);
});
