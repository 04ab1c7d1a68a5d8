/**
 * Keyed actors on several threads inside one: where they live, when they end, and what becomes of their messages then.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import { ACTORS_MODULE, Counter, KEYED_JOURNAL } from './fixtures/actors.js';
import { eventually } from './fixtures/eventually.js';
import { type InProcessNode, startInProcessNode } from './fixtures/in-process-node.js';

const IN_MS = { timeoutMs: 5_000 };
const ALL_WORKERS = 0b1110;

let node: InProcessNode;

function start(threadCount = 4, passivateAfterMs = 60_000): void {
  node = startInProcessNode({ threadCount, ringCapacityBytes: 1 << 20 });
  for (const { system } of node.threads) {
    system.registerKeyed({ type: 'counter', module: ACTORS_MODULE, export: 'Counter', passivateAfterMs });
  }
}

beforeEach(() => {
  KEYED_JOURNAL.length = 0;
  Counter.store.clear();
});
afterEach(() => node.close());

function keys(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `key-${index}`);
}

async function whereIs(key: string): Promise<number> {
  return (await node.threads[0]!.system.keyed('counter', key).ask('where', IN_MS)) as number;
}

/** How often each key was started and stopped, in order: 's1 e1' = started and ended on thread 1. */
function journalOf(key: string): string {
  return KEYED_JOURNAL.filter((line) => line.includes(` ${key} `))
    .map((line) => `${line.startsWith('start') ? 's' : 'e'}${line.slice(-1)}`)
    .join(' ');
}

describe('placement', () => {
  test('every thread finds the same instance of a key, and keys are spread over the workers', async () => {
    start();
    const owners = new Map<string, number>();
    for (const key of keys(60)) {
      for (const { system } of node.threads) {
        const owner = (await system.keyed('counter', key).ask('where', IN_MS)) as number;
        expect(owners.get(key) ?? owner).toBe(owner);
        owners.set(key, owner);
      }
    }
    const perThread = [1, 2, 3].map((thread) => [...owners.values()].filter((owner) => owner === thread).length);
    for (const count of perThread) expect(count).toBeGreaterThan(8);
    expect(node.threads.map(({ system }) => system.stats().actors)).toEqual([0, ...perThread]);
  });

  test('a thread alone holds them itself', async () => {
    start(1);
    expect(await whereIs('x')).toBe(0);
  });

  test('messages told before the instance has started are received in order', async () => {
    start();
    const ref = node.threads[0]!.system.keyed('counter', 'x');
    for (let index = 0; index < 50; index++) expect(ref.tell('add')).toBe(OUTCOME.OK);
    expect(await ref.ask('get', IN_MS)).toBe(50);
  });
});

describe('passivation', () => {
  test('an idle actor persists and goes, and its next message finds what it persisted', async () => {
    start(2, 30);
    const ref = node.threads[0]!.system.keyed('counter', 'x');
    expect(await ref.ask('add', IN_MS)).toBe(1);
    await eventually(() => node.threads[1]!.system.stats().actors === 0, 'passivated');
    expect(await ref.ask('add', IN_MS)).toBe(2);
    expect(journalOf('x')).toBe('s1 e1 s1');
  });

  test('none of the messages that arrive while it is passivated is lost', async () => {
    start(2, 1);
    const ref = node.threads[0]!.system.keyed('counter', 'x');
    // Told at every moment of the life cycle: the pauses between them are those of the actor itself.
    for (let told = 0; told < 300; told++) {
      expect(ref.tell('add')).toBe(OUTCOME.OK);
      if (told % 3 === 0) await eventually(() => journalOf('x').length > told / 20, 'the cycle goes on');
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await ref.ask('get', IN_MS)).toBe(300);
    expect(journalOf('x')).toMatch(/^s1( e1 s1)+$/);
    for (const { system } of node.threads) expect(system.stats().deadLetters).toBe(0);
  });
});

describe('when the placement changes', () => {
  test('only keys of the thread that goes move, they persist first, and no message is lost', async () => {
    start();
    const before = new Map<string, number>();
    for (const key of keys(60)) {
      node.threads[0]!.system.keyed('counter', key).tell('add');
      before.set(key, await whereIs(key));
    }
    node.place(0b1010);
    for (const key of keys(60)) node.threads[0]!.system.keyed('counter', key).tell('add');
    for (const key of keys(60)) {
      const owner = await whereIs(key);
      if (before.get(key) === 2) {
        expect(owner).not.toBe(2);
        await eventually(() => journalOf(key) === `s2 e2 s${owner}`, `${key} moved in order, not ${journalOf(key)}`);
      } else {
        expect(owner).toBe(before.get(key));
        expect(journalOf(key)).toBe(`s${owner}`);
      }
      expect(await node.threads[0]!.system.keyed('counter', key).ask('get', IN_MS)).toBe(2);
    }
    expect([...before.values()]).toContain(2);
  });

  test('back and forth under load there is one instance of a key at a time and no message is lost', async () => {
    start();
    const refs = keys(20).map((key) => node.threads[0]!.system.keyed('counter', key));
    const masks = [0b0110, 0b1110, 0b1000, 0b1110, 0b0010, ALL_WORKERS];
    for (const mask of masks) {
      for (let round = 0; round < 5; round++) {
        for (const ref of refs) ref.tell('add');
        await new Promise((resolve) => setImmediate(resolve));
      }
      node.place(mask);
      for (const ref of refs) ref.tell('add');
    }
    for (const [index, ref] of refs.entries()) {
      // A question may overtake what is still being handed on after a move: the order across a move is not promised.
      const wanted = masks.length * 6;
      await eventually(async () => (await ref.ask('get', IN_MS)) === wanted, `key-${index} counted to ${wanted}`);
    }
    for (const key of keys(20)) {
      const steps = journalOf(key).split(' ');
      // Started and ended in turn, each end on the thread of its start: never two at once.
      for (let step = 1; step < steps.length; step += 2) {
        expect(steps[step]![0]).toBe('e');
        expect(steps[step]!.slice(1)).toBe(steps[step - 1]!.slice(1));
      }
    }
    for (const { system } of node.threads) expect(system.stats().deadLetters).toBe(0);
  });

  test('an actor that is stopped while it moves does not keep the others waiting', async () => {
    start();
    const { system } = node.threads[0]!;
    const owned = new Map<string, number>();
    for (const key of keys(30)) owned.set(key, await whereIs(key));
    node.place(0b1010);
    await node.threads[2]!.system.stopAll();
    for (const key of keys(30)) expect(await system.keyed('counter', key).ask('where', IN_MS)).not.toBe(2);
    expect([...owned.values()]).toContain(2);
  });

  test('with no thread left, messages are dead letters and questions fail', async () => {
    start();
    node.place(0);
    const ref = node.threads[0]!.system.keyed('counter', 'x');
    expect(ref.tell('add')).toBe(OUTCOME.CLOSED);
    await expect(ref.ask('get', IN_MS)).rejects.toMatchObject({ code: 'ASK_FAILED' });
    expect(node.threads[0]!.system.stats().deadLettersByReason).toEqual({ 'thread-down': 2 });
  });
});

test('a failure costs one key only, and the asker hears of it', async () => {
  start(2);
  const { system } = node.threads[0]!;
  await system.keyed('counter', 'good').ask('add', IN_MS);
  await expect(system.keyed('counter', 'bad').ask('fail', IN_MS)).rejects.toThrow(/asked to fail/);
  expect(await system.keyed('counter', 'good').ask('get', IN_MS)).toBe(1);
  expect(await system.keyed('counter', 'bad').ask('get', IN_MS)).toBe(0);
});

test('types and keys that cannot be are refused', () => {
  start(2);
  const { system } = node.threads[0]!;
  expect(() => system.keyed('nothing', 'x')).toThrow(/registered/);
  expect(() => system.keyed('counter', '')).toThrow(/1 to/);
  expect(() => system.registerKeyed({ type: 'counter', module: ACTORS_MODULE, export: 'Counter' })).toThrow(/once/);
});
