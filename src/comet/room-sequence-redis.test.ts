/** RoomSequence over a real Redis: history and pub/sub as in a cluster, with subscriptions that are cut under traffic. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../test/kit/index.js';
import { systemClock } from '../clock/index.js';
import { HistoryRules } from '../config/index.js';
import { decodeHistoryEnvelope } from '../protocol/index.js';
import { PUSH_OUTCOME, type PushCommand, type RoomPlace } from '../push/index.js';
import { MemoryHistory } from '../store/index.js';
import { RedisHistory, RedisLink } from '../store/redis/index.js';
import { memoryLog } from '../telemetry/index.js';
import { RoomSequence } from './room-sequence.js';

const ROOMS = ['live://a', 'live://b', 'live://c'];
const MESSAGE_COUNT = 1_500;
const CUT_COUNT = 6;

let server: RedisServer;
let link: RedisLink;
beforeAll(async () => {
  server = await startRedis();
  link = await RedisLink.open(
    { url: server.url, prefix: 'h', tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 5000, clientName: 'test' },
    memoryLog().logger,
  );
});
afterAll(async () => {
  link.close();
  await server.remove();
});

/** What a node is here: its subscriptions, its sequence, and what its members were given per room. */
class Node {
  readonly given = new Map<string, string[]>(ROOMS.map((room) => [room, []]));
  readonly gaps: string[] = [];
  readonly errors: unknown[] = [];
  readonly subscriber = new Redis(server.url, { autoResubscribe: false });
  readonly sequence: RoomSequence;
  readonly #places = new Map<string, RoomPlace>();
  readonly #linked = new Set<string>();

  constructor(history: RedisHistory, rules: HistoryRules) {
    const memory = new MemoryHistory({ rules, maxBytes: 1e6, firstEpoch: 1, clock: systemClock });
    this.sequence = new RoomSequence(
      { heldMaxMessages: 50, heldMaxBytes: 1e6, rangeMaxMessages: 40, rangeMaxBytes: 1e6, retryMs: 5, lingerMs: 1_000 },
      {
        rooms: {
          link: (room) => {
            this.#linked.add(room);
            return this.#subscribe([room]);
          },
          unlink: () => {},
        },
        history,
        memory,
        comet: {
          deliver: (command) => this.#deliver(command),
          placeRoom: (room, place, tellsGap) => {
            if (tellsGap) this.gaps.push(`${room} ${place.epoch} ${place.offset}`);
            this.#places.set(room, place);
            return PUSH_OUTCOME.OK;
          },
        },
        onError: (error) => this.errors.push(error),
      },
    );
    this.subscriber.on('error', () => {});
    this.subscriber.on('messageBuffer', (channel: Buffer, bytes: Buffer) => {
      const envelope = decodeHistoryEnvelope(bytes);
      const room = ROOMS.find((name) => link.keys.roomChannel(name) === channel.toString());
      if (envelope === undefined || room === undefined) throw new Error('not an envelope of a room');
      const { epoch, offset, op, messageId, body } = envelope;
      this.sequence.receive(room, { place: { epoch, offset }, op, messageId, body });
    });
    this.subscriber.on('ready', () => {
      const rooms = [...this.#linked];
      if (rooms.length > 0) void this.#subscribe(rooms).then(() => this.sequence.repair(rooms));
    });
  }

  async #subscribe(rooms: readonly string[]): Promise<void> {
    // While the connection is cut the next 'ready' does it.
    await this.subscriber.subscribe(...rooms.map((room) => link.keys.roomChannel(room))).catch(() => {});
  }

  #deliver({ target, body, place }: PushCommand) {
    const room = target.kind === 'rooms' ? target.rooms[0]! : '';
    const last = this.#places.get(room)!;
    expect(place).toEqual({ epoch: last.epoch, offset: last.offset + 1 });
    this.#places.set(room, place!);
    this.given.get(room)!.push(Buffer.from(body).toString());
    return PUSH_OUTCOME.OK;
  }

  close(): void {
    this.sequence.close();
    this.subscriber.disconnect();
  }
}

it('gives the members of two nodes every message once and in order while subscriptions are cut under traffic', async () => {
  const rules = new HistoryRules(['live:5000:600']);
  const history = new RedisHistory(link, rules);
  const nodes = [new Node(history, rules), new Node(history, rules)];
  await Promise.all(nodes.flatMap((node) => ROOMS.map((room) => node.sequence.link(room))));
  const expected = new Map<string, string[]>(ROOMS.map((room) => [room, []]));
  const id = Buffer.alloc(8);
  for (let number = 1; number <= MESSAGE_COUNT; number++) {
    const room = ROOMS[number % ROOMS.length]!;
    id.writeUInt32BE(number, 4);
    expected.get(room)!.push(String(number));
    await history.append(room, 1000, Buffer.from(String(number)), Buffer.from(id));
    if (number % Math.floor(MESSAGE_COUNT / CUT_COUNT) === 0) {
      await link.commands.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    }
  }
  await eventually(
    () => nodes.every((node) => ROOMS.every((room) => node.given.get(room)!.length >= expected.get(room)!.length)),
    20_000,
  );
  for (const node of nodes) {
    for (const room of ROOMS) expect(node.given.get(room)).toEqual(expected.get(room));
    expect(node.gaps).toEqual([]);
    expect(node.errors).toEqual([]);
    node.close();
  }
}, 60_000);
