/**
 * Random mutations of valid traffic against a running node, while control clients receive every push of their room in order.
 */
import { expect } from 'vitest';
import { seededRandom } from '../../src/protocol/fixtures/traffic.js';
import { encodePacket, OP } from '../../src/protocol/index.js';
import { eventually, type HalleyProcess, nodeStats, pushRoom, residentBytes, WireClient } from '../kit/index.js';
import { authBody, mutatedAuth, mutatedFrame, mutatedUpgrade, type Random } from './mutations.js';
import { frame, RawWebSocket } from './raw-web-socket.js';

export const CONTROL_ROOM = 'live://control';
const CONTROL_COUNT = 8;
const LANES = 32;
const MUTATIONS_PER_PUSH = 100;
const MUTATIONS_PER_CONNECTION = 50;
/** A mutation may announce more bytes than it brings; then nothing comes back, and the connection is given up. */
const SILENCE_MS = 50;
/** What may remain of a fuzz run: caches of V8, rooms and watch sets not collected yet, malloc's own. */
const RSS_SLACK_BYTES = 150 * 1024 * 1024;

/** Ends that a spoiled packet may lead to; everything else in Halley's range would be a defect. */
export const HONEST_ENDS: ReadonlySet<number> = new Set([3500, 3502, 3503, 3504, 3506, 3507]);

export async function connectControls(halley: HalleyProcess): Promise<WireClient[]> {
  const controls: WireClient[] = [];
  for (let index = 0; index < CONTROL_COUNT; index++) {
    const auth = { key: `control-${index}`, mid: 1_000_000 + index, roomId: CONTROL_ROOM, extended: index % 2 === 0 };
    controls.push(await WireClient.connect(halley.wsUrl, auth));
  }
  return controls;
}

/** Every control client has exactly the pushes 0 to count - 1, in order. */
export async function expectControlsWhole(controls: readonly WireClient[], count: number): Promise<void> {
  for (const client of controls) {
    await client.messageCount(count);
    expect(client.closed).toBeUndefined();
    expect(client.messages.map((message) => Number(message.text))).toEqual(Array.from({ length: count }, (_, n) => n));
  }
}

/** The reply to the packet with this seq, or the end. False: silence. */
function answered(raw: RawWebSocket, op: number, seq: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), SILENCE_MS);
    raw.onEvent = (message) => {
      const isReply =
        message !== undefined &&
        message.length >= 16 &&
        message.readInt32BE(8) === op &&
        message.readInt32BE(12) === seq;
      if (!isReply && raw.end === undefined) return;
      clearTimeout(timer);
      resolve(true);
    };
    if (raw.end !== undefined) raw.onEvent(undefined);
  });
}

class Fuzzer {
  readonly #port: number;
  readonly #random: Random;
  readonly #held: RawWebSocket[] = [];
  readonly endCountByCode = new Map<number, number>();
  leftCount: number;
  #seq = 1;

  constructor(port: number, random: Random, count: number) {
    this.#port = port;
    this.#random = random;
    this.leftCount = count;
  }

  /** Spoil traffic on one connection after the other until nothing is left to do. */
  async lane(): Promise<void> {
    while (this.leftCount > 0) {
      if (this.#random() < 0.1) await this.#spoilUpgrade();
      else await this.#spoilConnection();
    }
  }

  /** Requests that never became connections; they are kept open until here. */
  release(): void {
    for (const raw of this.#held) raw.destroy();
  }

  async #spoilUpgrade(): Promise<void> {
    this.leftCount -= 1;
    const raw = await RawWebSocket.open(this.#port, mutatedUpgrade(this.#random));
    if (this.#held.length < 100) this.#held.push(raw);
    else raw.destroy();
  }

  async #spoilConnection(): Promise<void> {
    const raw = await RawWebSocket.upgrade(this.#port);
    if (this.#random() < 0.3) {
      this.leftCount -= 1;
      raw.write(mutatedAuth(this.#random));
    }
    let isOpen = await this.#ask(raw, OP.AUTH, OP.AUTH_REPLY, authBody(this.#random));
    for (let count = 0; count < MUTATIONS_PER_CONNECTION && isOpen && this.leftCount > 0; count++) {
      this.leftCount -= 1;
      raw.write(mutatedFrame(this.#random));
      isOpen = await this.#ask(raw, OP.HEARTBEAT, OP.HEARTBEAT_REPLY, new Uint8Array(0));
    }
    if (raw.end !== undefined) this.#count(raw);
    raw.destroy();
  }

  async #ask(raw: RawWebSocket, op: number, replyOp: number, body: Uint8Array): Promise<boolean> {
    this.#seq += 1;
    raw.write(frame(encodePacket(op, this.#seq, 1, body)));
    return (await answered(raw, replyOp, this.#seq)) && raw.end === undefined;
  }

  #count({ end }: RawWebSocket): void {
    const { code = 0, reason = '' } = end ?? {};
    this.endCountByCode.set(code, (this.endCountByCode.get(code) ?? 0) + 1);
    if (code < 3000) return;
    expect(HONEST_ENDS).toContain(code);
    expect(reason).not.toBe('');
  }
}

/** Run so many mutations; fails by expectation. Returns what was counted. */
export async function fuzz(
  halley: HalleyProcess,
  controls: readonly WireClient[],
  count: number,
  seed: number,
): Promise<string> {
  const fuzzer = new Fuzzer(halley.wsPort, seededRandom(seed), count);
  const before = await nodeStats(halley.httpUrl);
  const beforeBytes = await residentBytes(halley.pid);
  let pushed = controls[0]?.messages.length ?? 0;
  let isFuzzing = true;
  const pushing = (async () => {
    let nextAt = fuzzer.leftCount;
    while (isFuzzing) {
      await eventually(() => fuzzer.leftCount <= nextAt || !isFuzzing, 60_000, 'mutations');
      nextAt = fuzzer.leftCount - MUTATIONS_PER_PUSH;
      await pushRoom(halley.httpUrl, CONTROL_ROOM, String(pushed++));
    }
  })();
  await Promise.all(Array.from({ length: LANES }, () => fuzzer.lane()));
  isFuzzing = false;
  await pushing;
  fuzzer.release();

  await expectControlsWhole(controls, pushed);
  await eventually(
    async () => {
      const { totals } = await nodeStats(halley.httpUrl);
      // The control room stands in up to two buckets.
      return totals.channels === controls.length && totals.sessions === controls.length && totals.rooms <= 2;
    },
    10_000,
    'nothing left but the control clients',
  );
  const after = await nodeStats(halley.httpUrl);
  expect(after.totals.bucket_restarts).toBe(0);
  expect(after.totals.listener_errors).toBe(0);
  expect(after.totals.malformed).toBeGreaterThan(before.totals.malformed);
  expect(halley.output()).not.toMatch(/"level":"(error|fatal)"/);
  const grownBytes = (await residentBytes(halley.pid)) - beforeBytes;
  expect(grownBytes).toBeLessThan(RSS_SLACK_BYTES);
  const ends = [...fuzzer.endCountByCode].toSorted(([a], [b]) => a - b).map(([code, times]) => `${code}: ${times}`);
  return `${count} mutations, ${pushed} pushes to the room, RSS +${(grownBytes / 1e6).toFixed(0)} MB, ends { ${ends.join(', ')} }`;
}
