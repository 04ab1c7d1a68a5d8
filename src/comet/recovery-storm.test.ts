/**
 * The whole way of a recovery in one thread, under random orders: history of the cluster, RoomSequence, sequencer, ring, bucket and
 * clients that follow the rule of `bucket/recoveries.ts`. Pushes, joins, cuts, stalls, Redis away and Redis emptied come at any
 * point; each client must have every message once and in order, or have been told.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { HistoryRules } from '../config/index.js';
import { CLIENT_ERROR, OUTCOME, type Outcome } from '../errors/index.js';
import { decodeGap, decodeRecoverReply, encodePacket, encodeRecover, OP, readInt32 } from '../protocol/index.js';
import { PUSH_OUTCOME, type PushOutcome } from '../push/index.js';
import { MemoryHistory } from '../store/index.js';
import type { Channel } from './bucket/channel.js';
import { BucketParts, MAX_BACKPRESSURE_BYTES, TEST_LIMITS, TEST_THREAD } from './fixtures/bucket-parts.js';
import type { FakeSocket } from './fixtures/fake-socket.js';
import { InMemoryRing, testIds } from './fixtures/in-memory-ring.js';
import { ModelHistory } from './fixtures/model-history.js';
import {
  EPOCH_OFFSET,
  INNER_OFFSET,
  MESSAGE_ID_OFFSET,
  OFFSET_OFFSET,
  OUTER_OFFSET,
  RAW_KIND,
  SPEED_OFFSET,
} from './push-record.layout.js';
import { RecordLink } from './record-link.js';
import { RoomRecovery } from './room-recovery.js';
import { type PlacedMessage, RoomSequence } from './room-sequence.js';
import { Sequencer } from './sequencer.js';
import type { RecoveredMessage } from './thread-messages.js';

const ROOM = 'live://1';
const CLIENT_COUNT = 6;
const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

/** An extended client. */
class Client {
  readonly #rig: Rig;
  #channel: Channel | undefined;
  #socket: FakeSocket | undefined;
  #readCount = 0;
  #seq = 0;
  #isWaiting = false;
  epoch = 0;
  /** undefined: it was told that something is missing, and the next message is where it goes on. */
  offset: number | undefined = 0;
  toldCount = 0;
  recoveredCount = 0;

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  get isIn(): boolean {
    return this.#channel !== undefined;
  }

  join(): void {
    const { bucket } = this.#rig;
    if (this.#channel !== undefined) return;
    const { channel, socket } = bucket.channel({ extended: true });
    // uWS writes what was published to a socket in front of what is sent to it.
    const send = socket.send.bind(socket);
    socket.send = (bytes) => {
      bucket.spread();
      return send(bytes);
    };
    this.#channel = channel;
    this.#socket = socket;
    this.#readCount = 0;
    this.#isWaiting = false;
    bucket.enter(channel, ROOM);
    const { epoch, flushedOffset } = channel.cohortIn(bucket.shards.byRoom(ROOM)!)!;
    this.#placed(epoch, flushedOffset);
  }

  cut(): void {
    if (this.#channel === undefined) return;
    this.read();
    this.#rig.bucket.spread();
    this.#rig.bucket.gone(this.#channel);
    this.#channel = undefined;
  }

  stall(isStalled: boolean): void {
    if (this.#socket !== undefined) this.#socket.bufferedBytes = isStalled ? MAX_BACKPRESSURE_BYTES : 0;
  }

  read(): void {
    if (this.#socket === undefined || this.#channel === undefined) return;
    for (; this.#readCount < this.#socket.frames.length; this.#readCount++) {
      const frame = this.#socket.frames[this.#readCount]!;
      const op = readInt32(frame, 8);
      if (op === OP.RECOVER_REPLY) this.#answered(readInt32(frame, 12), frame.subarray(16));
      else if (op === OP.GAP) this.#gap(frame.subarray(16));
      else if (!this.#isWaiting) this.#take(frame);
    }
  }

  #placed(epoch: number, offset: number): void {
    if (this.epoch !== epoch) this.#told(epoch, offset);
    else if (this.offset !== undefined && offset > this.offset) this.#ask();
  }

  #told(epoch: number, offset: number | undefined): void {
    if (this.epoch !== 0) this.toldCount += 1;
    this.epoch = epoch;
    this.offset = offset;
    this.#isWaiting = false;
  }

  #ask(): void {
    this.#seq += 1;
    this.#isWaiting = true;
    const body = encodeRecover('json', { room: ROOM, epoch: this.epoch, offset: this.offset! });
    this.#rig.bucket.packets.receive(this.#channel!, encodePacket(OP.RECOVER, this.#seq, 1, body));
  }

  #gap(body: Uint8Array): void {
    const gap = decodeGap('json', body);
    if (!gap.ok) throw new Error(gap.error);
    const { epoch, to } = gap.value;
    if (epoch !== this.epoch) this.#told(epoch, to);
    else if (this.#isWaiting || (this.offset !== undefined && to > this.offset)) this.#ask();
  }

  #answered(seq: number, body: Uint8Array): void {
    if (!this.#isWaiting || seq !== this.#seq) return;
    const reply = decodeRecoverReply('json', body);
    if (!reply.ok) throw new Error(reply.error);
    this.#isWaiting = false;
    if (reply.value.recovered) {
      this.recoveredCount += 1;
      if (body.length > 0) this.#take(body);
    } else if (reply.value.error?.code === CLIENT_ERROR.OVERLOADED.code) this.#ask();
    else this.#told(this.epoch, undefined);
  }

  /** One or more op-26 packets. */
  #take(packets: Uint8Array): void {
    const reply = decodeRecoverReply('json', packets);
    if (!reply.ok || !reply.value.recovered) throw new Error('no batches');
    for (const { epoch, messages } of reply.value.batches) {
      expect(epoch).toBe(this.epoch);
      for (const { offset, body } of messages) {
        if (this.offset !== undefined) expect(offset).toBe(this.offset + 1);
        expect(this.#rig.published.get(`${epoch} ${offset}`)).toContain(Buffer.from(body).toString());
        this.offset = offset;
      }
    }
  }
}

/** A node of a cluster with one bucket. */
class Rig {
  readonly history = new ModelHistory(25);
  readonly bucket = new BucketParts(TEST_LIMITS, true, 2);
  readonly published = new Map<string, string[]>();
  readonly clients: Client[];
  readonly #clock = new ManualClock(0);
  readonly #ring = new InMemoryRing(1024 * 1024);
  readonly #sequence: RoomSequence;
  readonly #recovery: RoomRecovery;
  readonly #link: RecordLink;
  readonly #bus: PlacedMessage[] = [];
  #number = 0;
  #nowMs = 0;

  constructor() {
    const clock = this.#clock;
    const memory = new MemoryHistory({ rules: new HistoryRules(['live:12:60']), maxBytes: 1e6, firstEpoch: 5, clock });
    const sequencer = new Sequencer(this.#ring.writer, testIds().ids, {
      roomCapacity: 4,
      firstEpoch: 5,
      maxBodyBytes: 100,
      history: memory,
      placesAreGiven: true,
    });
    Object.assign(this.bucket, { sequencer });
    // Every look at the clock is a millisecond: slices end after a few answers.
    this.bucket.recoveriesMs = () => {
      this.#nowMs += 1;
      return this.#nowMs;
    };
    const outcomeOf = (outcome: Outcome): PushOutcome => (outcome === OUTCOME.OK ? PUSH_OUTCOME.OK : PUSH_OUTCOME.FULL);
    const bounds = { heldMaxMessages: 6, heldMaxBytes: 1_000, rangeMaxMessages: 4, rangeMaxBytes: 1_000 };
    this.#sequence = new RoomSequence(
      { ...bounds, retryMs: 1, lingerMs: 10_000 },
      {
        rooms: { link: () => undefined, unlink: () => {} },
        history: this.history,
        memory,
        comet: {
          deliver: ({ op, body, messageId, place }) => outcomeOf(sequencer.pushRoom(ROOM, op, body, messageId, place)),
          placeRoom: (room, place, tellsGap) => outcomeOf(sequencer.placeRoom(room, place, tellsGap)),
        },
        onError: () => {},
      },
    );
    this.#link = new RecordLink(this.#ring.writer, () => {});
    this.#recovery = new RoomRecovery(
      { memory, history: this.history, maxMessages: 16, maxBytes: 2_000, bytesPerSec: 1e6, timeoutMs: 1_000 },
      {
        clock,
        counters: { add: () => {} },
        canSend: () => this.#link.backlogCount === 0,
        send: (thread, message) => this.#link.send(1 << thread, message),
      },
    );
    this.clients = Array.from({ length: CLIENT_COUNT }, () => new Client(this));
  }

  /** The room is linked, and somebody stays in it. */
  async open(): Promise<void> {
    const linking = Promise.resolve(this.#sequence.link(ROOM));
    let isLinked = false;
    void linking.then(() => {
      isLinked = true;
    });
    while (!isLinked) {
      await tick();
      this.answerHistory();
    }
    this.bucket.enter(this.bucket.channel({ extended: true }).channel, ROOM);
    this.drain();
    for (const client of this.clients) client.join();
  }

  publish(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#number += 1;
      const messageId = new Uint8Array(8);
      new DataView(messageId.buffer).setUint32(4, this.#number);
      const text = `m${this.#number}`;
      const body = Buffer.from(text);
      const place = this.history.publish(messageId, body);
      const key = `${place.epoch} ${place.offset}`;
      this.published.set(key, [...(this.published.get(key) ?? []), text]);
      this.#bus.push({ place, op: 1000, messageId, body });
    }
  }

  /** What the bus has, or only every second message of it. */
  deliver(isWhole: boolean): void {
    for (const [index, message] of this.#bus.splice(0).entries()) {
      if (isWhole || index % 2 === 0) this.#sequence.receive(ROOM, message);
    }
  }

  repair(mayLackPlace: boolean): void {
    void this.#sequence.repair([ROOM], mayLackPlace);
  }

  answerHistory(): void {
    this.history.compute();
    this.history.answer();
  }

  pass(): void {
    this.#clock.advance(700);
  }

  /** The bucket reads its ring, to its end; then the control thread what was asked of it. */
  drain(): void {
    const shard = this.bucket.shards.byRoom(ROOM)!;
    for (const { kind, bytes } of this.#ring.read(TEST_THREAD)) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      if (kind === RAW_KIND.CONTROL) {
        this.bucket.recoveries!.onRecovered(this.#link.decode(bytes, 0, bytes.length) as RecoveredMessage);
      } else if (kind === RAW_KIND.ROOM_PLACE) {
        shard.continueBehind(view.getFloat64(EPOCH_OFFSET, true), view.getFloat64(OFFSET_OFFSET, true));
        this.bucket.spread();
        if (view.getUint32(SPEED_OFFSET, true) === 1)
          this.bucket.subscriptions.tellRoomGap(this.bucket.slots.all(), shard, false);
      } else {
        const offset = view.getFloat64(OFFSET_OFFSET, true);
        const packetBytes = readInt32(bytes, INNER_OFFSET);
        shard.append(bytes, MESSAGE_ID_OFFSET, OUTER_OFFSET, INNER_OFFSET, packetBytes, offset);
      }
    }
    for (const message of this.bucket.recovers.splice(0)) this.#recovery.request(TEST_THREAD, message);
  }

  flush(): void {
    for (const group of this.bucket.published.pending.splice(0)) group.flush();
    this.bucket.spread();
    for (const client of this.clients) client.read();
  }

  /** Everything works again. Then all clients are in, and have the newest message. */
  async heal(): Promise<void> {
    this.history.isAway = false;
    this.deliver(true);
    this.repair(false);
    for (const client of this.clients) {
      client.stall(false);
      client.join();
    }
    for (let turn = 0; turn < 400 && !(turn > 20 && this.#isStill()); turn++) {
      if (turn % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 12));
      else await tick();
      // The one that is behind a lost message learns of it by the next.
      if (turn === 20) {
        this.publish(1);
        this.deliver(true);
      }
      this.answerHistory();
      this.drain();
      this.flush();
    }
    const { epoch, offset } = this.history.place;
    expect(this.clients.map((client) => `${client.epoch} ${client.offset}`)).toEqual(
      this.clients.map(() => `${epoch} ${offset}`),
    );
    expect(this.bucket.events.filter((event) => event.includes('error'))).toEqual([]);
    expect(this.bucket.recoveries!.pendingCount).toBe(0);
    expect(this.#recovery.waitingCount).toBe(0);
  }

  #isStill(): boolean {
    const { epoch, offset } = this.history.place;
    return this.clients.every((client) => client.epoch === epoch && client.offset === offset);
  }

  close(): void {
    this.#sequence.close();
    this.#recovery.close();
    this.#link.close();
    this.bucket.recoveries!.reset();
  }
}

type Step = readonly [name: string, argument: number];

const ofClient = (name: string): fc.Arbitrary<Step> => fc.tuple(fc.constant(name), fc.nat(CLIENT_COUNT - 1));
const once = (name: string): fc.Arbitrary<Step> => fc.constant([name, 0] as const);
const common: fc.WeightedArbitrary<Step>[] = [
  { weight: 5, arbitrary: fc.tuple(fc.constant('publish'), fc.integer({ min: 1, max: 8 })) },
  { weight: 5, arbitrary: once('deliver') },
  { weight: 5, arbitrary: once('drain') },
  { weight: 4, arbitrary: once('flush') },
  { weight: 4, arbitrary: once('history') },
  { weight: 3, arbitrary: once('tick') },
  { weight: 4, arbitrary: ofClient('cut') },
  { weight: 4, arbitrary: ofClient('join') },
  { weight: 1, arbitrary: ofClient('stall') },
  { weight: 2, arbitrary: ofClient('go on') },
  { weight: 1, arbitrary: once('cut all') },
  { weight: 1, arbitrary: once('join all') },
];
const harmful: fc.WeightedArbitrary<Step>[] = [
  { weight: 2, arbitrary: once('deliver some') },
  { weight: 2, arbitrary: once('repair') },
  { weight: 1, arbitrary: once('loss') },
  { weight: 1, arbitrary: once('lose') },
  { weight: 1, arbitrary: once('away') },
  { weight: 2, arbitrary: once('back') },
  { weight: 1, arbitrary: once('pass') },
];

async function play(steps: readonly Step[]): Promise<Rig> {
  const rig = new Rig();
  try {
    await rig.open();
    for (const [name, argument] of steps) {
      const client = rig.clients[argument % CLIENT_COUNT]!;
      if (name === 'publish') rig.publish(argument);
      else if (name === 'deliver') rig.deliver(true);
      else if (name === 'deliver some') rig.deliver(false);
      else if (name === 'drain') rig.drain();
      else if (name === 'flush') rig.flush();
      else if (name === 'history') rig.answerHistory();
      else if (name === 'tick') await tick();
      else if (name === 'cut') client.cut();
      else if (name === 'join') client.join();
      else if (name === 'stall') client.stall(true);
      else if (name === 'go on') client.stall(false);
      else if (name === 'cut all') for (const each of rig.clients) each.cut();
      else if (name === 'join all') for (const each of rig.clients) each.join();
      else if (name === 'repair') rig.repair(false);
      else if (name === 'loss') rig.repair(true);
      else if (name === 'lose') rig.history.lose();
      else if (name === 'away') rig.history.isAway = true;
      else if (name === 'back') rig.history.isAway = false;
      else rig.pass();
    }
    await rig.heal();
  } finally {
    rig.close();
  }
  return rig;
}

it('every client has every message once and in order, or was told, whatever comes in between', async () => {
  let [toldCount, recoveredCount] = [0, 0];
  const steps = fc.array(fc.oneof(...common, ...harmful), { minLength: 20, maxLength: 120 });
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const { clients } = await play(list);
      for (const client of clients) {
        toldCount += client.toldCount;
        recoveredCount += client.recoveredCount;
      }
    }),
    { numRuns: 60 },
  );
  expect(toldCount).toBeGreaterThan(0);
  expect(recoveredCount).toBeGreaterThan(0);
}, 120_000);

it('a storm whose messages are all kept is recovered whole: nobody is told anything', async () => {
  let recoveredCount = 0;
  // Never more than the history keeps for those who are away.
  const missed = fc.integer({ min: 1, max: 12 });
  await fc.assert(
    fc.asyncProperty(missed, fc.array(fc.oneof(once('drain'), once('flush'), once('tick'))), async (count, between) => {
      const { clients } = await play([
        ['cut all', 0],
        ['publish', count],
        ['deliver', 0],
        ['drain', 0],
        // What waited in the cohort of the one who stays would come to whoever joins it live.
        ['flush', 0],
        ['join all', 0],
        ...between,
        ['publish', 1],
        ['deliver', 0],
        ...between,
      ]);
      for (const client of clients) {
        expect(client.toldCount).toBe(0);
        recoveredCount += client.recoveredCount;
      }
    }),
    { numRuns: 40 },
  );
  expect(recoveredCount).toBeGreaterThanOrEqual(40 * CLIENT_COUNT);
}, 120_000);
