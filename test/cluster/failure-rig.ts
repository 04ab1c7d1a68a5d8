/**
 * A cluster of real processes under load, for the failure tests: nodes on one Redis, a crowd of clients in rooms, producers that
 * push by HTTP and remember what was accepted, and the questions every failure must answer: was anything lost, repeated or out of
 * order, is every session a target again, how long did the slowest call take.
 *
 * Numbers of pushes: kind * 10^8 + room * 10^6 + serial, so that one list per client holds all streams.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, type HalleyProcess, startHalley, TallyClient } from '../kit/index.js';

export const LEASE_MS = 2_000;
export const KIND = { DIRECT: 1, DURABLE: 2, PROBE: 3 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];
const KIND_UNIT = 100_000_000;
const ROOM_UNIT = 1_000_000;
const CALL_DEADLINE_MS = 15_000;
const KEYS_PER_CALL = 100;
const CONNECTS_AT_A_TIME = 50;
const OP = 1000;
const FULL_CODE = -503;

export interface ClusterNode extends HalleyProcess {
  readonly serverId: string;
  readonly dataDir: string;
}

export interface NodeSetup {
  readonly serverId: string;
  readonly redisUrl: string;
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
}

const dataDirs = new Set<string>();

/** Data directories of all nodes of this file; for afterAll. */
export async function removeDataDirs(): Promise<void> {
  for (const dir of dataDirs) await rm(dir, { recursive: true, force: true });
  dataDirs.clear();
}

export async function startNode({ serverId, redisUrl, env, args = [], ...given }: NodeSetup): Promise<ClusterNode> {
  const dataDir = given.dataDir ?? (await mkdtemp(join(tmpdir(), 'halley-failure-')));
  dataDirs.add(dataDir);
  const node = await startHalley({
    dataDir,
    args: ['--redis', redisUrl, '--server-id', serverId, '--buckets', '1', ...args],
    env: {
      HALLEY_ID_LEASE_MS: '1000',
      HALLEY_CLUSTER_LEASE_MS: String(LEASE_MS),
      HALLEY_STREAM_LEASE_MS: '1000',
      HALLEY_SHUTDOWN_DRAIN_MS: '200',
      ...env,
    },
  });
  return { ...node, serverId, dataDir };
}

/** Nodes `prefix0`, `prefix1`, ... on one Redis; all are ready, and know one another. */
export async function startNodes(redisUrl: string, count: number, env: NodeSetup['env'] = {}): Promise<ClusterNode[]> {
  const nodes = await Promise.all(
    Array.from({ length: count }, (_, index) => startNode({ serverId: `node-${index}`, redisUrl, env })),
  );
  await Promise.all(nodes.map((node) => readyWithin(node, 10_000)));
  return nodes;
}

export async function endNodes(nodes: readonly ClusterNode[]): Promise<void> {
  await Promise.all(
    nodes.map(async (node) => {
      // A frozen one must be thawed to die at once.
      if (node.child.exitCode === null && node.child.signalCode === null) node.child.kill('SIGCONT');
      await node.stop('SIGKILL');
    }),
  );
}

/** Reasons of `/ready`; empty: ready. A call that fails is a reason too. */
export async function reasonsOf(node: ClusterNode): Promise<readonly string[]> {
  const response = await fetch(`${node.httpUrl}/ready`, { signal: AbortSignal.timeout(CALL_DEADLINE_MS) });
  const { reasons = [] } = (await response.json()) as { reasons?: readonly { readonly reason: string }[] };
  return reasons.map(({ reason }) => reason);
}

/** Resolves with the ms it took. `besides`: reasons that may stay. */
export async function readyWithin(
  node: ClusterNode,
  deadlineMs: number,
  besides: readonly string[] = [],
): Promise<number> {
  const startedMs = performance.now();
  let last: readonly string[] = [];
  await eventually(
    async () => {
      last = await reasonsOf(node);
      return last.every((reason) => besides.includes(reason));
    },
    deadlineMs,
    'the node is ready',
  ).catch((error) => {
    throw new Error(`${node.serverId} is not ready: ${last.join(', ')}\n${node.output()}`, { cause: error });
  });
  return performance.now() - startedMs;
}

/** One seat of the crowd: a device that may connect several times. */
export interface Seat {
  readonly key: string;
  readonly mid: number;
  readonly room: number;
  readonly isExtended: boolean;
  node: ClusterNode;
  client: TallyClient;
}

export function roomName(room: number): string {
  return `live://r${room}`;
}

export class Crowd {
  readonly seats: Seat[] = [];
  readonly roomCount: number;

  constructor(roomCount: number) {
    this.roomCount = roomCount;
  }

  /** Connect seats, spread over the nodes and rooms; every other one is extended. */
  async fill(nodes: readonly ClusterNode[], count: number): Promise<readonly Seat[]> {
    const first = this.seats.length;
    const added: Seat[] = [];
    const indexes = Array.from({ length: count }, (_, index) => first + index);
    for (let start = 0; start < count; start += CONNECTS_AT_A_TIME) {
      const slice = indexes.slice(start, start + CONNECTS_AT_A_TIME);
      added.push(
        ...(await Promise.all(
          slice.map(async (index): Promise<Seat> => {
            const node = nodes[index % nodes.length] as ClusterNode;
            const rest = {
              key: `device-${index}`,
              mid: index + 1,
              room: Math.floor(index / nodes.length) % this.roomCount,
              isExtended: Math.floor(index / (nodes.length * this.roomCount)) % 2 === 1,
            };
            return { ...rest, node, client: await connectSeat(rest, node) };
          }),
        )),
      );
    }
    this.seats.push(...added);
    return added;
  }

  on(node: ClusterNode): readonly Seat[] {
    return this.seats.filter((seat) => seat.node === node);
  }

  /** The same devices, on another node now. */
  async move(seats: readonly Seat[], nodes: readonly ClusterNode[]): Promise<void> {
    for (let start = 0; start < seats.length; start += CONNECTS_AT_A_TIME) {
      await Promise.all(
        seats.slice(start, start + CONNECTS_AT_A_TIME).map(async (seat, index) => {
          const node = nodes[index % nodes.length] as ClusterNode;
          seat.client = await connectSeat(seat, node);
          seat.node = node;
        }),
      );
    }
  }

  end(): void {
    for (const { client } of this.seats) client.terminate();
  }
}

function connectSeat(seat: Omit<Seat, 'node' | 'client'>, node: ClusterNode): Promise<TallyClient> {
  return TallyClient.connect(node.wsUrl, {
    key: seat.key,
    mid: seat.mid,
    roomId: roomName(seat.room),
    extended: seat.isExtended,
    accepts: [OP],
  });
}

export interface CallResult {
  readonly status: number;
  readonly code: number;
  readonly tookMs: number;
}

/** Never rejects: a call that got no answer has status 0. */
export async function call(url: string, body: string, headers: Record<string, string> = {}): Promise<CallResult> {
  const startedMs = performance.now();
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers,
      signal: AbortSignal.timeout(CALL_DEADLINE_MS),
    });
    const answer = (await response.json()) as { code?: number; data?: readonly { code: number }[] };
    // A batch answers for each of its commands; ours has one.
    const code = answer.data?.[0]?.code ?? answer.code ?? Number.NaN;
    return { status: code === FULL_CODE ? 503 : response.status, code, tookMs: performance.now() - startedMs };
  } catch {
    return { status: 0, code: Number.NaN, tookMs: performance.now() - startedMs };
  }
}

export function pushDurableRoom(node: ClusterNode, room: number, body: string): Promise<CallResult> {
  return call(`${node.httpUrl}/goim/push/room?operation=${OP}&type=live&room=r${room}`, body);
}

export function pushDirectRoom(node: ClusterNode, room: number, body: string): Promise<CallResult> {
  return call(`${node.httpUrl}/halley/push/batch`, JSON.stringify({ room: roomName(room), op: OP, body }), {
    'content-type': 'application/json',
  });
}

/** One stream of pushes to one room through one node, one call after the other. */
export class Producer {
  readonly kind: Kind;
  readonly room: number;
  /** Numbers that were answered with 0, in order. */
  readonly accepted: number[] = [];
  /** Answers by HTTP status; 0: none. */
  readonly statuses = new Map<number, number>();
  node: ClusterNode;
  slowestMs = 0;
  #serial = 0;
  #isStopping = false;
  readonly #pauseMs: number;
  #running: Promise<void> = Promise.resolve();

  constructor(kind: Kind, room: number, node: ClusterNode, pauseMs: number) {
    this.kind = kind;
    this.room = room;
    this.node = node;
    this.#pauseMs = pauseMs;
  }

  start(): this {
    this.#running = this.#run();
    return this;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const push = this.kind === KIND.DURABLE ? pushDurableRoom : pushDirectRoom;
    while (!this.#isStopping) {
      this.#serial += 1;
      const number = this.kind * KIND_UNIT + this.room * ROOM_UNIT + this.#serial;
      const { status, code, tookMs } = await push(this.node, this.room, `${number} ${'x'.repeat(40)}`);
      if (code === 0) this.accepted.push(number);
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
      this.slowestMs = Math.max(this.slowestMs, tookMs);
      await new Promise((resolve) => setTimeout(resolve, this.#pauseMs));
    }
  }
}

/** Streams with what was accepted of them: a Load, or what one had taken at some moment. */
export interface Streams {
  of(kind: Kind): readonly Pick<Producer, 'room' | 'accepted'>[];
}

export class Load {
  readonly producers: readonly Producer[];

  /** For each room one producer of each kind, spread over the nodes. */
  constructor(rooms: number, nodes: readonly ClusterNode[], kinds: readonly Kind[], pauseMs = 60) {
    this.producers = Array.from({ length: rooms }, (_, room) => room).flatMap((room) =>
      kinds.map((kind, index) =>
        new Producer(kind, room, nodes[(room + index) % nodes.length] as ClusterNode, pauseMs).start(),
      ),
    );
  }

  of(kind: Kind): readonly Producer[] {
    return this.producers.filter((producer) => producer.kind === kind);
  }

  /** What is accepted by now. */
  snapshot(): Streams {
    const taken = this.producers.map(({ kind, room, accepted }) => ({ kind, room, accepted: [...accepted] }));
    return { of: (kind) => taken.filter((stream) => stream.kind === kind) };
  }

  /** Every producer has had this many more pushes accepted. */
  async advance(
    count: number,
    kinds: readonly Kind[] = [KIND.DIRECT, KIND.DURABLE],
    deadlineMs = 10_000,
  ): Promise<void> {
    const goals = this.producers
      .filter(({ kind }) => kinds.includes(kind))
      .map((producer) => ({ producer, goal: producer.accepted.length + count }));
    await eventually(
      () => goals.every(({ producer, goal }) => producer.accepted.length >= goal),
      deadlineMs,
      `${count} more accepted pushes of each producer`,
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.producers.map((producer) => producer.stop()));
  }

  get slowestMs(): number {
    return Math.max(...this.producers.map(({ slowestMs }) => slowestMs));
  }

  statusCount(kind: Kind, status: number): number {
    return this.of(kind).reduce((sum, { statuses }) => sum + (statuses.get(status) ?? 0), 0);
  }
}

/** Numbers of one stream that a seat's present connection has received, in the order of arrival. */
export function received({ client, room }: Pick<Seat, 'client' | 'room'>, kind: Kind): readonly number[] {
  const first = kind * KIND_UNIT + room * ROOM_UNIT;
  return client.numbers.filter((number) => number >= first && number < first + ROOM_UNIT);
}

/** What is wrong with order: each number comes once, after all smaller ones. Empty: nothing. */
export function disorder(seats: readonly Seat[], kinds: readonly Kind[] = [KIND.DIRECT, KIND.DURABLE]): string[] {
  const faults: string[] = [];
  for (const seat of seats) {
    for (const kind of kinds) {
      const numbers = received(seat, kind);
      const at = numbers.findIndex((number, index) => index > 0 && number <= (numbers[index - 1] as number));
      if (at > 0) faults.push(`${seat.key}: ${numbers[at]} after ${numbers[at - 1]}`);
    }
  }
  return faults;
}

/** Accepted pushes from `since` on that a seat has not received: `key: first of them, how many`. */
export function missing(
  seats: readonly Seat[],
  load: Streams,
  kind: Kind,
  since: number | ((room: number) => number) = 0,
) {
  const faults: string[] = [];
  for (const seat of seats) {
    const got = new Set(received(seat, kind));
    const from = typeof since === 'number' ? since : since(seat.room);
    const lost = load
      .of(kind)
      .filter(({ room }) => room === seat.room)
      .flatMap(({ accepted }) => accepted.filter((number) => number >= from && !got.has(number)));
    if (lost.length > 0)
      faults.push(`${seat.key} on ${seat.node.serverId}: ${lost.length} from ${lost[0]} to ${lost.at(-1)}`);
  }
  return faults;
}

/** Wait until nothing is missing; fails with what is. */
export async function nothingMissing(
  seats: readonly Seat[],
  load: Streams,
  kind: Kind,
  since: number | ((room: number) => number) = 0,
  deadlineMs = 8_000,
): Promise<void> {
  let faults: string[] = [];
  await eventually(
    () => {
      faults = missing(seats, load, kind, since);
      return faults.length === 0;
    },
    deadlineMs,
    'every accepted push has arrived',
  ).catch((error) => {
    throw new Error(`${faults.length} seats miss pushes of kind ${kind}:\n${faults.slice(0, 10).join('\n')}`, {
      cause: error,
    });
  });
}

let probeSerial = 0;

/**
 * Push by key to every seat, again and again, until one round reached all: every session stands in the map, and under its owner.
 * Resolves with the ms from the call to that.
 */
export async function everyKeyReached(
  seats: readonly Seat[],
  through: ClusterNode,
  deadlineMs: number,
): Promise<number> {
  const startedMs = performance.now();
  let unreached: string[] = [];
  while (performance.now() - startedMs < deadlineMs) {
    probeSerial += 1;
    const number = KIND.PROBE * KIND_UNIT + probeSerial;
    const calls: Promise<CallResult>[] = [];
    for (let start = 0; start < seats.length; start += KEYS_PER_CALL) {
      const keys = seats.slice(start, start + KEYS_PER_CALL).map(({ key }) => `keys=${key}`);
      calls.push(call(`${through.httpUrl}/goim/push/keys?operation=${OP}&${keys.join('&')}`, `${number}`));
    }
    await Promise.all(calls);
    const roundEndMs = performance.now() + 400;
    do {
      unreached = seats.filter(({ client }) => !client.numbers.includes(number)).map(({ key }) => key);
      if (unreached.length === 0) return performance.now() - startedMs;
      await new Promise((resolve) => setTimeout(resolve, 20));
    } while (performance.now() < roundEndMs);
  }
  throw new Error(
    `${unreached.length} of ${seats.length} keys are not reached after ${deadlineMs} ms: ${unreached.slice(0, 8).join(' ')}`,
  );
}

/** Members of a room in the whole cluster, as one node says. */
export async function onlineInRoom(node: ClusterNode, room: number): Promise<number> {
  const response = await fetch(`${node.httpUrl}/goim/online/room?type=live&rooms=r${room}`, {
    signal: AbortSignal.timeout(CALL_DEADLINE_MS),
  });
  const { data } = (await response.json()) as { readonly data: Readonly<Record<string, number>> };
  return Number(data[`r${room}`] ?? 0);
}

/** Wait until a node counts exactly the crowd's members in every room. */
export async function countsAreRight(node: ClusterNode, crowd: Crowd, deadlineMs = 6_000): Promise<void> {
  let wrong = '';
  await eventually(
    async () => {
      for (let room = 0; room < crowd.roomCount; room++) {
        const expected = crowd.seats.filter((seat) => seat.room === room && seat.client.closed === undefined).length;
        const counted = await onlineInRoom(node, room);
        wrong = `room ${room}: ${counted} counted, ${expected} are there`;
        if (counted !== expected) return false;
      }
      return true;
    },
    deadlineMs,
    'online counts are right',
  ).catch((error) => {
    throw new Error(`${node.serverId}, ${wrong}`, { cause: error });
  });
}
