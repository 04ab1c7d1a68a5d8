/**
 * What a node asks of Redis, counted: commands by MONITOR of every server, round trips by proxies in front of them, which let
 * commands through in ticks. And what every Redis is asked alike: connects and pushes to a room.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { eventually, type HalleyProcess, post, type RedisProxy, WireClient } from '../kit/index.js';
import { PUSH_OP } from './producers.js';

const TICK_MS = 60;

export class CommandCosts {
  readonly #proxies: readonly RedisProxy[];
  readonly #prefix: string;
  readonly #admins: Redis[] = [];
  readonly #monitors: ChildProcess[] = [];
  /** What clients said to each server, as words; commands inside of scripts left out. */
  readonly #said: string[][][] = [];

  private constructor(proxies: readonly RedisProxy[], prefix: string) {
    this.#proxies = proxies;
    this.#prefix = prefix;
  }

  /** @param ports of the servers @param proxies what the node reaches them through @param prefix of its keys */
  static async watch(ports: readonly number[], proxies: readonly RedisProxy[], prefix: string): Promise<CommandCosts> {
    const costs = new CommandCosts(proxies, prefix);
    for (const port of ports) await costs.#watch(port);
    return costs;
  }

  async #watch(port: number): Promise<void> {
    this.#admins.push(new Redis(port, '127.0.0.1', { protocol: 2 }));
    const said: string[][] = [];
    this.#said.push(said);
    const monitor = spawn('redis-cli', ['-p', String(port), 'MONITOR'], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#monitors.push(monitor);
    const lines = createInterface({ input: monitor.stdout });
    lines.on('line', (line) => {
      if (line.includes(' lua] ')) return;
      said.push(Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, word = '']) => word));
    });
    await once(lines, 'line');
  }

  close(): void {
    for (const monitor of this.#monitors) monitor.kill();
    for (const admin of this.#admins) admin.disconnect();
  }

  /** All commands at all servers during `job`. */
  async commandsOf(job: () => Promise<void>): Promise<string[][]> {
    await this.#upTo(`begin-${Math.random()}`);
    await job();
    return this.#upTo(`end-${Math.random()}`);
  }

  async #upTo(mark: string): Promise<string[][]> {
    await Promise.all(this.#admins.map((admin) => admin.echo(mark)));
    const indexOf = (said: readonly string[][]) => said.findIndex(([, word]) => word === mark);
    await eventually(() => this.#said.every((said) => indexOf(said) >= 0), 5_000, 'every MONITOR has caught up');
    return this.#said.flatMap((said) => said.splice(0, indexOf(said) + 1).slice(0, -1));
  }

  /**
   * Round trips, one after the other, that `job` needs for what names `names`: commands are let through in ticks, so what follows
   * from an answer falls into a later tick than what was asked.
   */
  async roundTripsOf(job: () => Promise<unknown>, ...names: readonly string[]): Promise<number> {
    let isDone = false;
    let tripCount = 0;
    for (const proxy of this.#proxies) proxy.hold();
    const done = job().finally(() => {
      isDone = true;
    });
    while (!isDone) {
      const passed = await this.commandsOf(async () => {
        for (const proxy of this.#proxies) {
          proxy.release();
          proxy.hold();
        }
        await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      });
      if (naming(passed, ...names).length > 0) tripCount += 1;
    }
    for (const proxy of this.#proxies) proxy.release();
    await done;
    return tripCount;
  }

  /** The session of a key is gone, whichever server has it. */
  async isGone(key: string): Promise<void> {
    const name = `${this.#prefix}:s:{${key}}`;
    // A master of other slots refuses to answer.
    const isAbsent = async (admin: Redis) => (await admin.exists(name).catch(() => 0)) === 0;
    await eventually(
      async () => (await Promise.all(this.#admins.map(isAbsent))).every(Boolean),
      5_000,
      `the end of the session of ${key}`,
    );
  }
}

/** Those that name something of the test. Not the batches of online counts, which come when it is time and name rooms, too. */
export function naming(commands: readonly string[][], ...names: readonly string[]): string[][] {
  return commands
    .filter((words) => !words.some((word) => word.includes(':on:{')))
    .filter((words) => words.some((word) => names.some((name) => word.includes(name))));
}

/** Their first words, in small letters. */
export function verbsOf(commands: readonly string[][]): string[] {
  return commands.map(([verb = '']) => verb.toLowerCase());
}

/** Round trips of three connects: into a room that is new to the node, into one that is not, into none. */
export async function connectTrips(costs: CommandCosts, node: HalleyProcess): Promise<number[]> {
  const counts: number[] = [];
  for (const [key, room] of [
    ['trip-1', { roomId: 'trip://new' }],
    ['trip-2', { roomId: 'trip://new' }],
    ['trip-3', {}],
  ] as const) {
    let client: WireClient | undefined;
    const count = await costs.roundTripsOf(async () => {
      client = await WireClient.connect(node.wsUrl, { key, mid: 77, ...room });
    }, 'trip');
    counts.push(count);
    await client?.close();
    await costs.isGone(key);
  }
  return counts;
}

/** Verbs of the commands that carry a direct push to a room, for each of these counts of its members. */
export async function roomPushVerbs(
  costs: CommandCosts,
  node: HalleyProcess,
  memberCounts: readonly number[],
): Promise<string[][]> {
  const room = 'fan://out';
  const clients: WireClient[] = [];
  const verbs: string[][] = [];
  for (const memberCount of memberCounts) {
    while (clients.length < memberCount) {
      const no = clients.length;
      clients.push(await WireClient.connect(node.wsUrl, { key: `fan-${no}`, mid: 900 + no, roomId: room }));
    }
    const body = `to ${memberCount} members`;
    verbs.push(verbsOf(naming(await pushCommands(costs, node, { room }, clients, body), body)));
  }
  await Promise.all(clients.map((client) => client.close()));
  return verbs;
}

/** All commands until each of `clients` has a direct push to `target`. */
export function pushCommands(
  costs: CommandCosts,
  node: HalleyProcess,
  target: { readonly room: string } | { readonly mids: readonly number[] },
  clients: readonly WireClient[],
  body: string,
): Promise<string[][]> {
  return costs.commandsOf(async () => {
    const answer = await post(`${node.httpUrl}/halley/push/batch`, { ...target, op: PUSH_OP, body });
    expect(answer.data).toMatchObject([{ code: 0 }]);
    await Promise.all(
      clients.map((client) =>
        client.waitFor(() => client.messages.some(({ text }) => text === body) || undefined, body),
      ),
    );
  });
}
