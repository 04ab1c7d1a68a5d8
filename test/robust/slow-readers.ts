/**
 * The slow-reader scenario, sized by its caller: a room under load, some members that stop reading and go on later. Everyone
 * who reads loses nothing; who was slow is told of every message it missed; memory stays bounded meanwhile.
 */
import { expect } from 'vitest';
import {
  eventually,
  type HalleyProcess,
  nodeStats,
  pushRoom,
  residentBytes,
  startHalley,
  TallyClient,
} from '../kit/index.js';

export interface SlowReadersSize {
  readonly members: number;
  /** Of them, extended channels that stop reading and go on; as many plain ones stop for ever. */
  readonly slowPairs: number;
  readonly pushes: number;
  readonly bodyBytes: number;
}

const ROOM = 'live://slow';
const MAX_BACKPRESSURE_BYTES = 65_536;
const CLOSE_AFTER_MS = 2_000;
/** Most pushes that wait for a reading member: what the test itself can take in. */
const WINDOW = 50;
/** What a node may grow by besides the buffers of its slow channels: batches, the ring, garbage not yet collected. */
const RSS_SLACK_BYTES = 200 * 1024 * 1024;

/** Body of push `n`: its number, then filler. */
function bodyOf(n: number, bytes: number): string {
  return `${n} `.padEnd(bytes, 'x');
}

function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}

/** Where the Gaps of the room told the channel that something up to here was missed. */
function gapsOf(client: TallyClient): number[] {
  return client.gaps.filter((gap) => gap.scope === 'room' && gap.room === ROOM).map((gap) => gap.to);
}

/** Offsets up to `last` that a client neither received nor can tell from its Gaps to be missed. */
function unaccounted(client: TallyClient, last: number): number[] {
  const received = new Set(client.offsets);
  const gapTo = Math.max(0, ...gapsOf(client));
  return range(1, last).filter((offset) => !received.has(offset) && offset > gapTo);
}

function isRising(numbers: readonly number[]): boolean {
  return numbers.every((number, index) => index === 0 || number > (numbers[index - 1] as number));
}

async function connectAll(halley: HalleyProcess, kind: string, count: number, extended: boolean) {
  const clients: TallyClient[] = [];
  for (let start = 0; start < count; start += 100) {
    const slice = Array.from({ length: Math.min(100, count - start) }, (_, index) =>
      TallyClient.connect(halley.wsUrl, { key: `${kind}-${start + index}`, roomId: ROOM, extended }),
    );
    clients.push(...(await Promise.all(slice)));
  }
  return clients;
}

/** Run the scenario; fails by expectation. Returns what was measured. */
export async function runSlowReaders(size: SlowReadersSize): Promise<string> {
  const halley = await startHalley({
    env: {
      HALLEY_SLOW_MAX_BACKPRESSURE_BYTES: String(MAX_BACKPRESSURE_BYTES),
      HALLEY_SLOW_CLOSE_AFTER_MS: String(CLOSE_AFTER_MS),
    },
  });
  try {
    const returning = await connectAll(halley, 'returning', size.slowPairs, true);
    const lost = await connectAll(halley, 'lost', size.slowPairs, false);
    const readers = await connectAll(halley, 'reader', size.members - 2 * size.slowPairs, false);
    const watchers = await connectAll(halley, 'watcher', 5, true);
    const healthy = [...readers, ...watchers];
    const beforeBytes = await residentBytes(halley.pid);
    let peakBytes = beforeBytes;
    for (const client of [...returning, ...lost]) client.pause();

    let pushed = 0;
    const pushSome = async (count: number) => {
      for (let index = 0; index < count; index++) {
        pushed += 1;
        await pushRoom(halley.httpUrl, ROOM, bodyOf(pushed, size.bodyBytes));
        if (pushed % WINDOW !== 0) continue;
        const awaited = pushed - WINDOW;
        const isSlow = (client: TallyClient) => client.numbers.length < awaited;
        await eventually(() => !healthy.some(isSlow), 20_000, `the readers to have ${awaited} messages`);
        peakBytes = Math.max(peakBytes, await residentBytes(halley.pid));
      }
    };
    const metrics = async () => (await nodeStats(halley.httpUrl)).totals;

    await pushSome(size.pushes / 2);
    // Kernel buffers take megabytes before uWS sees a stop: go on until everyone who stopped is known as slow.
    while ((await metrics()).slow_marked < 2 * size.slowPairs) {
      expect(pushed).toBeLessThan(size.pushes * 10);
      await pushSome(WINDOW);
    }
    const whileSlow = await metrics();
    expect(whileSlow).toMatchObject({ slow_marked: 2 * size.slowPairs, slow_recovered: 0 });

    // The extended half reads again, under load.
    for (const client of returning) client.resume();
    await pushSome(size.pushes / 4);
    await eventually(async () => (await metrics()).slow_recovered >= size.slowPairs, 20_000, 'the slow to recover');
    await pushSome(size.pushes / 4);
    // The plain half is closed: it cannot be told what it misses. The clients hear of it when they read.
    await eventually(async () => (await metrics()).slow_closed === size.slowPairs, 20_000, 'slow channels closed');

    for (const client of healthy) {
      await eventually(() => client.numbers.length >= pushed, 20_000, 'every message');
      expect(client.numbers).toEqual(range(1, pushed));
    }
    for (const client of returning) {
      await eventually(() => client.offsets.at(-1) === pushed, 20_000, 'the newest message');
      expect(isRising(client.offsets)).toBe(true);
      expect(client.numbers).toEqual(client.offsets);
      expect(gapsOf(client).length).toBeGreaterThan(0);
      expect(unaccounted(client, pushed)).toEqual([]);
      expect(client.offsets.length).toBeLessThan(pushed);
    }
    const end = await metrics();
    // Three Gaps per recovery of an extended channel: its room, pushes to all, direct pushes.
    expect(end.gaps_sent).toBe(3 * end.slow_recovered);
    expect(end).toMatchObject({ channels: healthy.length + returning.length, slow_closed: size.slowPairs });
    for (const client of lost) {
      client.resume();
      await eventually(() => client.closed, 20_000, 'the close');
    }
    const grownBytes = peakBytes - beforeBytes;
    expect(grownBytes).toBeLessThan(2 * size.slowPairs * MAX_BACKPRESSURE_BYTES * 2 + RSS_SLACK_BYTES);
    for (const client of [...healthy, ...returning]) client.terminate();
    await eventually(async () => (await metrics()).channels === 0, 10_000, 'no channel left');
    expect(await metrics()).toMatchObject({ sessions: 0 });
    return `${pushed} pushes, ${end.slow_marked} marked, ${end.slow_recovered} recovered, RSS +${(grownBytes / 1e6).toFixed(0)} MB`;
  } finally {
    await halley.stop();
  }
}
