/**
 * The pool on real threads: start, messages across, raw kinds, loss, stall and stop. (Build first: workers run dist/.)
 */
import { afterEach, expect, test } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import type { ActorRef } from './actor-ref.js';
import { eventually } from './fixtures/eventually.js';
import type { PoolMainData } from './fixtures/pool-main.worker.js';
import { ThreadPool, type ThreadPoolOptions } from './thread-pool.js';

const DIST = new URL('../../dist/actor/', import.meta.url);
const ACTORS = new URL('fixtures/actors.js', DIST).href;
const HOSTILE = new URL('fixtures/hostile-actors.js', DIST).href;
const MAIN = new URL('fixtures/pool-main.worker.js', DIST).href;
const RAW_KIND = 16;
const IN_MS = { timeoutMs: 10_000 };

let pool: ThreadPool | undefined;
afterEach(async () => {
  await pool?.stop(10_000);
  pool = undefined;
});

async function start(workerData: PoolMainData = {}, options: Partial<ThreadPoolOptions> = {}): Promise<ThreadPool> {
  pool = await ThreadPool.start({
    workerCount: 2,
    module: MAIN,
    workerEntry: new URL('thread.worker.js', DIST),
    workerData,
    ringCapacityBytes: 1 << 20,
    ...options,
  });
  pool.system.registerKeyed({ type: 'counter', module: ACTORS, export: 'Counter' });
  return pool;
}

test('actors on three threads exchange messages in the order of each pair, and asks come back', async () => {
  const { system } = await start();
  const target = await system.spawn({ module: ACTORS, export: 'Collector', thread: 1 });
  const sender = await system.spawn({ module: ACTORS, export: 'Sender', thread: 2 });
  sender.tell({ to: target, from: 0, count: 50_000 });
  await eventually(async () => {
    const { count } = (await target.ask('summary', IN_MS)) as { count: number };
    return count === 50_000;
  }, 'all arrived');
  expect(await target.ask('summary', IN_MS)).toEqual({ count: 50_000, ascending: true });
  const echo = await system.spawn({ module: ACTORS, export: 'Echo', thread: 2 });
  const answers = await Promise.all(Array.from({ length: 500 }, (_, index) => echo.ask(index, IN_MS)));
  expect(answers).toEqual(answers.map((_, index) => ({ message: index, thread: 2, incarnation: 1 })));
});

test('raw records go out and come back through the handlers of their kind', async () => {
  const { runtime } = await start();
  const received: string[] = [];
  let turns = 0;
  runtime.onRaw(RAW_KIND, (bytes, offset, lengthBytes, fromThread) => {
    received.push(`${fromThread}:${bytes.slice(offset, offset + lengthBytes).join()}`);
  });
  runtime.onTurnEnd(() => turns++);
  expect(runtime.writer.claim(3)).toBe(OUTCOME.OK);
  runtime.writer.bytes.set([1, 2, 3], runtime.writer.offset);
  runtime.writer.commit(RAW_KIND, 0b110, 3);
  runtime.signal();
  await eventually(() => received.length === 2, 'both answered');
  expect(received.sort()).toEqual(['1:2,3,4', '2:2,3,4']);
  expect(turns).toBeGreaterThan(0);
});

test('keyed actors live on the workers, and those of a thread that died start anew on the other', async () => {
  const log: string[] = [];
  const { system } = await start({}, { onThreadReady: (thread, incarnation) => log.push(`${thread}.${incarnation}`) });
  const keys = Array.from({ length: 20 }, (_, index) => `key-${index}`);
  const where = async (key: string): Promise<unknown> => system.keyed('counter', key).ask('where', IN_MS);
  const before = await Promise.all(keys.map(where));
  expect(new Set(before)).toEqual(new Set([1, 2]));
  const hostile = await system.spawn({ module: HOSTILE, export: 'Hostile', thread: 1 });
  hostile.tell('exception');
  await eventually(() => log.includes('1.2'), 'replaced');
  // While it is away its keys are on thread 2; when it is back they return to it.
  await eventually(async () => {
    const after = await Promise.all(keys.map(where));
    return after.every((thread, index) => thread === before[index]);
  }, 'everything is where it was');
});

test('a thread whose startThread fails fails the start, with its reason', async () => {
  await expect(start({ failOn: 2 })).rejects.toMatchObject({
    code: 'THREAD_START_FAILED',
    message: /failed on purpose/,
    details: { thread: 2 },
  });
});

test('a module without startThread fails the start, and says what is missing', async () => {
  await expect(start({}, { module: ACTORS })).rejects.toMatchObject({
    code: 'THREAD_START_FAILED',
    message: /startThread/,
  });
});

test('stop runs every onStop hook and the onStop of every actor before it resolves', async () => {
  const stops = new SharedArrayBuffer(4);
  const started = await start({ stops });
  await started.system.keyed('counter', 'x').ask('add', IN_MS);
  expect(await started.stop(10_000)).toEqual({ stuck: [] });
  expect(new Int32Array(stops)[0]).toBe(2);
  expect(started.status().threads.map((thread) => thread.state)).toEqual(['absent', 'absent']);
  pool = undefined;
});

test('a thread that spins is called stalled and gates nobody; when it turns again it has a gap and is ready', async () => {
  const spin = new SharedArrayBuffer(4);
  const { system } = await start({ spin }, { stallMs: 300 });
  const spinner = (await system.spawn({ module: MAIN, export: 'Spinner', thread: 1 })) as ActorRef;
  const echo = await system.spawn({ module: ACTORS, export: 'Echo', thread: 2 });
  const release = new Int32Array(spin);
  const spinning = spinner.ask('spin', { timeoutMs: 60_000 });
  await eventually(() => pool!.status().threads[0]!.state === 'stalled', 'seen as stalled');
  expect(pool!.status().ready).toBe(false);
  expect(spinner.tell('gaps')).toBe(OUTCOME.CLOSED);
  // Ten times the ring's capacity goes past the spinning thread.
  const block = new Uint8Array(64 * 1024);
  for (let index = 0; index < 160; index++) {
    const answer = (await echo.ask(block, IN_MS)) as { message: Uint8Array };
    expect(answer.message.length).toBe(block.length);
  }
  Atomics.store(release, 0, 1);
  Atomics.notify(release, 0);
  expect(await spinning).toBe('spun');
  await eventually(() => pool!.status().ready, 'ready again');
  // Both rings that went on without it: the control thread's questions and thread 2's answers.
  expect(((await spinner.ask('gaps', IN_MS)) as number[]).sort()).toEqual([0, 2]);
});
