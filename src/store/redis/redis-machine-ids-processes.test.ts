/**
 * Nodes as processes of their own, drawing ids at full speed, while they are frozen, killed and started again and fight for
 * fewer blocks than there are nodes. Every id that was drawn is in a file; all of them are compared.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisLink } from './redis-link.js';

const CHILD = fileURLToPath(new URL('../../../dist/store/redis/fixtures/leased-drawer.child.js', import.meta.url));
const LEASE_MS = 1_000;
const MAX_SKEW_MS = 150;
const SLOT_COUNT = 2;
const FREE_BLOCKS = [4, 20, 21];

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

class NodeProcess {
  readonly child: ChildProcess;
  readonly file: string;
  readonly lines: string[] = [];
  readonly #exited: Promise<unknown>;

  constructor(server: RedisServer, directory: string, serverId: string, nodeEpoch: number) {
    this.file = join(directory, `${serverId}-${nodeEpoch}.ids`);
    const dataDir = join(directory, serverId);
    const args = [CHILD, server.url, 'fight', serverId, String(nodeEpoch), dataDir, this.file];
    this.child = spawn(process.execPath, [...args, String(LEASE_MS), String(MAX_SKEW_MS)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#exited = once(this.child, 'exit');
    this.child.stdout?.on('data', (chunk: Buffer) => this.lines.push(...chunk.toString().trim().split('\n')));
    cleanups.push(() => this.kill());
  }

  /** Resolves with the machine base that the node has drawn its first ids under, after `sinceLine` lines. */
  took(sinceLine = 0): Promise<number> {
    return eventually(
      () => {
        const line = this.lines.slice(sinceLine).find((one) => one.startsWith('took '));
        if (line === undefined && this.child.exitCode !== null) throw new Error(`it ended: ${this.lines.join('; ')}`);
        return line === undefined ? undefined : Number(line.slice(5));
      },
      20_000,
      `ids of ${this.file}, lines: ${this.lines.join('; ')}`,
    );
  }

  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  thaw(): void {
    this.child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.#exited;
  }

  async idCount(): Promise<number> {
    const { size } = await stat(this.file).catch(() => ({ size: 0 }));
    return Math.floor(size / 8);
  }

  /** In the order of drawing, slot after slot in turn where both drew. */
  async ids(): Promise<BigUint64Array> {
    const bytes = await readFile(this.file).catch(() => Buffer.alloc(0));
    const whole = bytes.subarray(0, bytes.length - (bytes.length % 8));
    return new BigUint64Array(new Uint8Array(whole.swap64()).buffer);
  }
}

function machineOf(id: bigint): number {
  return Number((id >> 12n) & 1023n);
}

it('three processes draw millions of ids without a repeat, whoever is frozen, killed or started again', async () => {
  const server = await startRedis();
  cleanups.push(() => server.remove());
  const directory = await mkdtemp(join(tmpdir(), 'halley-fight-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  const link = await RedisLink.open(
    { url: server.url, prefix: 'fight', tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 500, clientName: 't' },
    memoryLog().logger,
  );
  cleanups.push(() => link.close());
  // Long mature, and all blocks but three leased for good.
  const key = link.keys.machineBlocks();
  await link.commands.hset(key, 'bornMs', '0');
  const foreverMs = Date.now() + 3_600_000;
  for (let block = 0; block < 56; block++) {
    if (FREE_BLOCKS.includes(block)) continue;
    await link.commands.hset(key, String(block), `${foreverMs} ${foreverMs} 0 1 ${'f'.repeat(32)} rest`);
  }
  const recordOf = async (base: number) => (await link.commands.hget(key, String(base / 16))) ?? '';

  const all: NodeProcess[] = [];
  const start = (serverId: string, nodeEpoch: number): NodeProcess => {
    const node = new NodeProcess(server, directory, serverId, nodeEpoch);
    all.push(node);
    return node;
  };
  const a = start('a', 1);
  const b = start('b', 1);
  const c = start('c', 1);
  const bases = await Promise.all([a.took(), b.took(), c.took()]);
  expect(new Set(bases)).toEqual(new Set(FREE_BLOCKS.map((block) => block * 16)));
  const [baseOfA = 0, baseOfB = 0] = bases;

  // kill -9: the same node is back in its own block, without waiting for the lease.
  await b.kill();
  const b2 = start('b', 2);
  expect(await b2.took()).toBe(baseOfB);

  // Frozen past its lease; a newcomer gets its block; thawed, it finds none and stays silent.
  a.freeze();
  await eventually(
    () =>
      start('d', all.length)
        .took()
        .catch(() => undefined),
    30_000,
    'a newcomer has the block',
  );
  expect(await recordOf(baseOfA)).toMatch(/ d$/);
  const linesBefore = a.lines.length;
  a.thaw();
  await eventually(() => a.lines.includes('lost taken'), 20_000, 'the thawed node notices');
  const countWhenLost = await a.idCount();

  // A killed node's block is the thawed node's new one.
  await c.kill();
  const baseOfC = bases[2] ?? 0;
  expect(await a.took(linesBefore)).toBe(baseOfC);

  // Freezes that end within the lease and a little after it, in turn.
  for (const node of [a, b2]) {
    node.freeze();
    await eventually(async () => {
      const endMs = Number((await recordOf(node === a ? baseOfC : baseOfB)).split(' ')[0]);
      return Date.now() > endMs;
    });
    const sinceLine = node.lines.length;
    node.thaw();
    const before = await node.idCount();
    await eventually(async () => (await node.idCount()) > before, 20_000, 'ids go on after the thaw');
    // Nobody wanted the block: it is still the node's, and there was no loss.
    expect(node.lines.slice(sinceLine)).toEqual([]);
  }
  for (const node of all) await node.kill();

  const files = await Promise.all(all.map((node) => node.ids()));
  const total = files.reduce((sum, file) => sum + file.length, 0);
  const merged = new BigUint64Array(total);
  let offset = 0;
  let fallingCount = 0;
  for (const file of files) {
    merged.set(file, offset);
    offset += file.length;
    const last = new Array<bigint>(SLOT_COUNT).fill(0n);
    for (const id of file) {
      const slotIndex = machineOf(id) % 16;
      if (id <= (last[slotIndex] ?? 0n)) fallingCount++;
      last[slotIndex] = id;
    }
  }
  merged.sort();
  let repeatCount = 0;
  for (let index = 1; index < total; index++) if (merged[index] === merged[index - 1]) repeatCount++;
  expect({ repeatCount, fallingCount }).toEqual({ repeatCount: 0, fallingCount: 0 });
  expect(total).toBeGreaterThan(1_000_000);
  // After it was told of the loss, no id of the old block.
  const afterLoss = (await a.ids()).subarray(countWhenLost);
  expect(afterLoss.some((id) => machineOf(id) >= baseOfA && machineOf(id) < baseOfA + 16)).toBe(false);
}, 120_000);
