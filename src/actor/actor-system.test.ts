/**
 * Actors of one thread and of several: everything here runs on real rings inside one thread (fixtures/in-process-node).
 */
import { afterEach, describe, expect, test } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import { Actor, type ActorContext } from './actor.js';
import type { ActorRef } from './actor-ref.js';
import { ACTORS_MODULE, Faulty } from './fixtures/actors.js';
import { deferred } from './fixtures/deferred.js';
import { eventually } from './fixtures/eventually.js';
import { type InProcessNode, type InProcessThread, startInProcessNode } from './fixtures/in-process-node.js';

let node: InProcessNode | undefined;
afterEach(() => {
  node?.close();
  node = undefined;
});

function start(threadCount: number, ringCapacityBytes = 65_536, maxQueuedBytes = 1 << 20): InProcessThread[] {
  node = startInProcessNode({ threadCount, ringCapacityBytes }, { maxQueuedBytes });
  return [...node.threads];
}

/** An actor that keeps what it gets. */
class Recorder extends Actor<unknown> {
  readonly seen: unknown[];
  constructor(seen: unknown[]) {
    super();
    this.seen = seen;
  }
  receive(message: unknown): void {
    this.seen.push(message);
  }
}

const IN_MS = { timeoutMs: 5_000 };

describe('tell', () => {
  test('messages to an actor of the same thread arrive in order and as they are', async () => {
    const [one] = start(1);
    const seen: unknown[] = [];
    const ref = one!.system.spawnLocal(() => new Recorder(seen));
    const object = { a: 1 };
    expect(ref.tell(object)).toBe(OUTCOME.OK);
    for (let index = 0; index < 1000; index++) ref.tell(index);
    expect(seen).toEqual([]); // never inside tell()
    await eventually(() => seen.length === 1001, 'all received');
    expect(seen[0]).toBe(object);
    expect(seen.slice(1)).toEqual(Array.from({ length: 1000 }, (_, index) => index));
  });

  test('messages from two threads to one actor keep the order of each pair', async () => {
    const [zero, one, two] = start(3);
    const target = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Collector', thread: 1 });
    const sender = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Sender', thread: 2 });
    sender.tell({ to: target, from: 10_000, count: 2_000 });
    for (let index = 0; index < 2_000; index++) expect(target.tell(index)).toBe(OUTCOME.OK);
    await eventually(() => one!.system.stats().types['Collector']?.received === 4_000, 'all received');
    const seen = (await target.ask('all', IN_MS)) as number[];
    expect(seen.filter((value) => value < 10_000)).toEqual(Array.from({ length: 2_000 }, (_, index) => index));
    expect(seen.filter((value) => value >= 10_000)).toEqual(
      Array.from({ length: 2_000 }, (_, index) => 10_000 + index),
    );
    expect(two!.errors).toEqual([]);
  });

  test('a message reaches another thread as a copy, whatever it is made of', async () => {
    const [zero] = start(2, 1 << 20);
    const echo = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Echo', thread: 1 });
    const bytes = new Uint8Array([1, 2, 3]);
    const messages: unknown[] = [
      undefined,
      null,
      0,
      'text',
      { id: 1, room: 'live://1', text: 'x'.repeat(200), nested: [{ a: 1n }, new Date(5)] },
      new Set([1, 2]),
      bytes,
      'ü€😀'.repeat(3_000),
    ];
    for (const message of messages) {
      const answer = (await echo.ask(message, IN_MS)) as { message: unknown };
      expect(answer.message).toEqual(message);
    }
  });

  test('a ref that was sent in a message can be told by who received it, and the receiver can answer the sender', async () => {
    const [zero] = start(3);
    const senders: (ActorRef | undefined)[] = [];
    class SenderRecorder extends Actor<number> {
      receive(_message: number, context: ActorContext): void {
        senders.push(context.sender);
      }
    }
    const recorder = zero!.system.spawnLocal(() => new SenderRecorder());
    const remote = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Sender', thread: 2 });
    remote.tell({ to: recorder, from: 7, count: 1 });
    await eventually(() => senders.length === 1, 'the number arrived');
    expect(senders[0]!.equals(remote)).toBe(true);
    recorder.tell(1);
    await eventually(() => senders.length === 2, 'told without a sender');
    expect(senders[1]).toBeUndefined();
  });

  test('the sender stays the sender when a third thread hands the message over in its name', async () => {
    const [zero] = start(3);
    const faulty = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1 });
    const seen: unknown[] = [];
    const recorder = zero!.system.spawnLocal(() => new Recorder(seen));
    const elsewhere = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 2 });
    faulty.tell({ reportSenderTo: recorder }, elsewhere);
    await eventually(() => seen.length === 1, 'reported');
    expect((seen[0] as ActorRef).equals(elsewhere)).toBe(true);
  });

  test('a full ring makes messages wait in order, and beyond the bound they are dead letters that say full', async () => {
    const [zero, one] = start(2, 65_536, 200_000);
    const target = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Collector', thread: 1 });
    const letters: string[] = [];
    zero!.system.deadLetters.observe((letter) => letters.push(letter.reason));
    let accepted = 0;
    let refused = 0;
    for (let index = 0; index < 20_000; index++) {
      const outcome = target.tell(index);
      if (outcome === OUTCOME.OK) accepted++;
      else {
        expect(outcome).toBe(OUTCOME.FULL);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0);
    expect(letters).toEqual(Array.from({ length: refused }, () => 'full'));
    expect(zero!.system.stats().queuedBytes).toBeGreaterThan(0);
    await eventually(() => one!.system.stats().types['Collector']?.received === accepted, 'all accepted arrived');
    expect(zero!.system.stats().queuedBytes).toBe(0);
    expect(await target.ask('summary', IN_MS)).toEqual({ count: accepted, ascending: true });
  });

  test('a message above the largest record is refused as too large', async () => {
    const [zero] = start(2);
    const target = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Collector', thread: 1 });
    expect(target.tell(new Uint8Array(70_000))).toBe(OUTCOME.TOO_LARGE);
    expect(target.tell('x'.repeat(70_000))).toBe(OUTCOME.TOO_LARGE);
    expect(zero!.system.stats().deadLettersByReason).toEqual({ 'too-large': 2 });
  });

  test('what cannot be written as msgpack is refused at once and leaves the ring usable', async () => {
    const [zero] = start(2);
    const echo = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Echo', thread: 1 });
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    expect(() => echo.tell(cycle)).toThrow(/cannot be written/);
    await expect(echo.ask(cycle, IN_MS)).rejects.toMatchObject({ code: 'MESSAGE_NOT_ENCODABLE' });
    expect(zero!.system.stats().asks).toBe(0);
    expect(((await echo.ask('after', IN_MS)) as { message: unknown }).message).toBe('after');
  });

  test('a toJSON that tells while its own message is being written does not tear either', async () => {
    const [zero, one] = start(2);
    const target = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Collector', thread: 1 });
    class Telling {
      toJSON(): unknown {
        target.tell(1);
        return 2;
      }
    }
    target.tell(new Telling());
    await eventually(() => one!.system.stats().types['Collector']?.received === 2, 'both arrived');
    expect(((await target.ask('all', IN_MS)) as number[]).sort()).toEqual([1, 2]);
  });

  test('messages to an actor that is gone are dead letters here and there', async () => {
    const [zero, one] = start(2);
    const here = zero!.system.spawnLocal(() => new Faulty());
    const there = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1 });
    await zero!.system.stop(here);
    await zero!.system.stop(there);
    expect(here.tell('count')).toBe(OUTCOME.CLOSED);
    expect(there.tell('count')).toBe(OUTCOME.OK); // handed over: only its thread knows
    await eventually(() => one!.system.stats().deadLetters === 1, 'counted there');
    expect(zero!.system.stats().deadLettersByReason).toEqual({ 'no-actor': 1 });
    await expect(here.ask('count', IN_MS)).rejects.toMatchObject({ code: 'ASK_FAILED' });
    await expect(there.ask('count', IN_MS)).rejects.toMatchObject({ code: 'ASK_FAILED' });
  });
});

describe('ask', () => {
  test('is answered by what receive returns or resolves to, here and on another thread', async () => {
    const [zero] = start(2);
    const here = zero!.system.spawnLocal(() => new Faulty());
    const there = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1 });
    for (const ref of [here, there]) {
      expect(await ref.ask('count', IN_MS)).toBe(1);
      expect(await ref.ask('count', IN_MS)).toBe(2);
    }
    expect(await here.ask({ waitFor: Promise.resolve('later') }, IN_MS)).toBe('later');
    expect(zero!.system.stats().asks).toBe(0);
  });

  test('fails with the message of what receive threw or rejected with', async () => {
    const [zero] = start(2);
    const there = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1 });
    const here = zero!.system.spawnLocal(() => new Faulty());
    for (const ref of [here, there]) {
      await expect(ref.ask('throw', IN_MS)).rejects.toMatchObject({ code: 'ASK_FAILED', message: /asked to throw/ });
      await expect(ref.ask('reject', IN_MS)).rejects.toMatchObject({ code: 'ASK_FAILED', message: /asked to reject/ });
    }
  });

  test('meets its deadline, and a late answer is ignored', async () => {
    const [zero] = start(1);
    const ref = zero!.system.spawnLocal(() => new Faulty());
    const gate = deferred<string>();
    const answer = ref.ask({ waitFor: gate.promise }, { timeoutMs: 20 });
    await expect(answer).rejects.toMatchObject({ code: 'ASK_TIMEOUT', details: { timeout_ms: 20 } });
    gate.resolve('late');
    expect(await ref.ask('count', IN_MS)).toBe(1);
    expect(zero!.system.stats().asks).toBe(0);
  });

  test('of a thread that is lost fails at once, and so does every later one', async () => {
    const [zero] = start(2);
    const there = await zero!.system.spawn({ module: ACTORS_MODULE, export: 'Echo', thread: 1 });
    node!.threads[1]!.runtime.close(); // it will never answer
    const pending = there.ask('x', { timeoutMs: 60_000 });
    zero!.system.threadLost(1);
    await expect(pending).rejects.toMatchObject({ code: 'ASK_THREAD_LOST' });
    zero!.runtime.states.nextIncarnation(1);
    await expect(there.ask('x', { timeoutMs: 60_000 })).rejects.toMatchObject({ code: 'ASK_THREAD_LOST' });
    expect(there.tell('x')).toBe(OUTCOME.CLOSED);
  });

  test('refuses a timeout that is none', async () => {
    const [zero] = start(1);
    const ref = zero!.system.spawnLocal(() => new Faulty());
    await expect(ref.ask('count', { timeoutMs: 0 })).rejects.toMatchObject({ code: 'ASK_TIMEOUT_RANGE' });
    expect(await ref.ask('count', IN_MS)).toBe(1); // it was not sent either
  });
});

describe('an asynchronous receive', () => {
  test('holds the next message back until it has settled', async () => {
    const [zero] = start(1);
    const log: string[] = [];
    const gates = [deferred<void>(), deferred<void>()];
    class Slow extends Actor<number> {
      async receive(message: number): Promise<void> {
        log.push(`begin ${message}`);
        await gates[message]!.promise;
        log.push(`end ${message}`);
      }
    }
    const ref = zero!.system.spawnLocal(() => new Slow());
    ref.tell(0);
    ref.tell(1);
    await eventually(() => log.length === 1, 'first began');
    gates[1]!.resolve();
    gates[0]!.resolve();
    await eventually(() => log.length === 4, 'both ended');
    expect(log).toEqual(['begin 0', 'end 0', 'begin 1', 'end 1']);
  });
});

describe('mailbox overflow', () => {
  async function overflow(kind: 'reject' | 'drop-oldest' | 'drop-newest'): Promise<unknown[][]> {
    const [zero] = start(1);
    const seen: unknown[] = [];
    const gate = deferred<void>();
    class Gated extends Recorder {
      override onStart(): Promise<void> {
        return gate.promise;
      }
    }
    const dead: unknown[] = [];
    zero!.system.deadLetters.observe((letter) => dead.push(`${letter.reason} ${letter.message}`));
    const ref = zero!.system.spawnLocal(() => new Gated(seen), { mailbox: { capacity: 3, overflow: kind } });
    const outcomes = [1, 2, 3, 4, 5].map((value) => ref.tell(value));
    gate.resolve();
    await eventually(() => seen.length === 3, 'what was kept is received');
    expect(zero!.system.stats().types['local']!.mailboxDepth).toBe(0);
    return [outcomes, seen, dead];
  }

  test('reject keeps the first and says FULL', async () => {
    expect(await overflow('reject')).toEqual([
      [0, 0, 0, 1, 1],
      [1, 2, 3],
      ['mailbox-full 4', 'mailbox-full 5'],
    ]);
  });

  test('drop-oldest keeps the last', async () => {
    expect(await overflow('drop-oldest')).toEqual([
      [0, 0, 0, 0, 0],
      [3, 4, 5],
      ['dropped-oldest 1', 'dropped-oldest 2'],
    ]);
  });

  test('drop-newest keeps the first and says OK', async () => {
    expect(await overflow('drop-newest')).toEqual([
      [0, 0, 0, 0, 0],
      [1, 2, 3],
      ['dropped-newest 4', 'dropped-newest 5'],
    ]);
  });

  test('an ask that found no room fails', async () => {
    const [zero] = start(1);
    const gate = deferred<void>();
    const ref = zero!.system.spawnLocal(() => new Faulty(), { mailbox: { capacity: 1 } });
    ref.tell({ waitFor: gate.promise });
    await eventually(() => zero!.system.stats().types['local']!.received === 1, 'it is busy');
    ref.tell('count');
    await expect(ref.ask('count', IN_MS)).rejects.toThrow(/mailbox-full/);
    gate.resolve();
  });
});

describe('supervision', () => {
  test('restart makes a new instance after a backoff and keeps the mailbox', async () => {
    const [zero] = start(1);
    const ref = zero!.system.spawnLocal(() => new Faulty(), { supervision: { backoffMinMs: 20 } });
    expect(await ref.ask('count', IN_MS)).toBe(1);
    ref.tell('throw');
    expect(await ref.ask('count', IN_MS)).toBe(1);
    expect(zero!.system.stats().types['local']).toMatchObject({ live: 1, failed: 1, restarted: 1 });
    expect(zero!.failures).toEqual(['local restarted']);
  });

  test('restart gives up when it was too often, and the rest become dead letters', async () => {
    const [zero] = start(1);
    const ref = zero!.system.spawnLocal(() => new Faulty(), { supervision: { backoffMinMs: 0, maxRestarts: 2 } });
    for (let index = 0; index < 3; index++) ref.tell('throw');
    const last = ref.ask('count', IN_MS);
    await expect(last).rejects.toMatchObject({ code: 'ASK_FAILED' });
    expect(zero!.failures).toEqual(['local restarted', 'local restarted', 'local stopped']);
    expect(zero!.system.stats()).toMatchObject({ actors: 0, deadLettersByReason: { stopped: 1 } });
  });

  test('stop ends the actor and no other', async () => {
    const [zero] = start(1);
    const other = zero!.system.spawnLocal(() => new Faulty());
    const ref = zero!.system.spawnLocal(() => new Faulty(), { supervision: { strategy: 'stop' } });
    await expect(ref.ask('throw', IN_MS)).rejects.toThrow(/asked to throw/);
    expect(ref.tell('count')).toBe(OUTCOME.CLOSED);
    expect(await other.ask('count', IN_MS)).toBe(1);
  });

  test('escalate fails the parent, and at the top it is the thread', async () => {
    const [zero, one] = start(2);
    class Parent extends Actor<'local' | 'remote'> {
      async receive(message: 'local' | 'remote', context: ActorContext): Promise<unknown> {
        const supervision = { strategy: 'escalate' } as const;
        if (message === 'local') return context.spawnLocal(() => new Faulty(), { supervision });
        return context.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1, supervision });
      }
    }
    const parent = zero!.system.spawnLocal(() => new Parent(), { type: 'parent', supervision: { backoffMinMs: 0 } });
    const child = (await parent.ask('local', IN_MS)) as ActorRef;
    child.tell('throw');
    await eventually(() => zero!.system.stats().types['parent']!.restarted === 1, 'the parent was restarted');
    const remoteChild = (await parent.ask('remote', IN_MS)) as ActorRef;
    remoteChild.tell('throw');
    await eventually(() => zero!.system.stats().types['parent']!.restarted === 2, 'restarted from afar');
    expect(zero!.escalated).toEqual([]);
    const top = one!.system.spawnLocal(() => new Faulty(), { supervision: { strategy: 'escalate' } });
    top.tell('throw');
    await eventually(() => one!.escalated.length === 1, 'escalated at the top');
    expect(one!.escalated[0]!.message).toBe('asked to throw');
  });

  test('an escalation to a parent that is busy waits for its message at hand', async () => {
    const [zero] = start(1);
    const gate = deferred<string>();
    class Parent extends Actor<unknown> {
      receive(_message: unknown, context: ActorContext): Promise<string> {
        context.spawnLocal(() => new Faulty(), { type: 'child', supervision: { strategy: 'escalate' } }).tell('throw');
        return gate.promise;
      }
    }
    const parent = zero!.system.spawnLocal(() => new Parent(), { type: 'parent', supervision: { strategy: 'stop' } });
    const answer = parent.ask('go', IN_MS);
    await eventually(() => zero!.failures.includes('child escalated'), 'the child has escalated');
    expect(zero!.failures).not.toContain('parent stopped');
    gate.resolve('answered');
    expect(await answer).toBe('answered');
    await eventually(() => zero!.failures.includes('parent stopped'), 'then the parent fails');
  });

  test('children stop with their parent', async () => {
    const [zero, one] = start(2);
    class Parent extends Actor<unknown> {
      override async onStart(context: ActorContext): Promise<void> {
        context.spawnLocal(() => new Faulty());
        await context.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1 });
      }
      receive(): void {}
    }
    const parent = zero!.system.spawnLocal(() => new Parent(), { type: 'parent' });
    await eventually(() => one!.system.stats().actors === 1, 'the remote child lives');
    await zero!.system.stop(parent);
    await eventually(() => one!.system.stats().actors === 0 && zero!.system.stats().actors === 0, 'all are gone');
  });

  test('a child that is spawned after its parent has ended is stopped, and one that ended is forgotten', async () => {
    const [zero, one] = start(2);
    const gate = deferred<void>();
    class Parent extends Actor<unknown> {
      receive(_message: unknown, context: ActorContext): void {
        context.spawnLocal(() => new Faulty()).tell('stop');
        void gate.promise.then(() => context.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1 }));
      }
    }
    const parent = zero!.system.spawnLocal(() => new Parent(), { type: 'parent' });
    parent.tell('go');
    await eventually(() => zero!.system.stats().actors === 1, 'the first child has ended');
    await zero!.system.stop(parent);
    gate.resolve();
    await eventually(() => one!.system.stats().types['Faulty']?.live === 0, 'the second was stopped again');
    expect(zero!.system.discarded.counts()).toEqual({});
  });

  test('a spawn whose actor does not start is rejected and leaves nothing', async () => {
    const [zero, one] = start(2);
    for (const thread of [0, 1]) {
      const spawning = zero!.system.spawn({ module: ACTORS_MODULE, export: 'Stillborn', thread });
      await expect(spawning).rejects.toMatchObject({ code: 'SPAWN_FAILED' });
      const missing = zero!.system.spawn({ module: ACTORS_MODULE, export: 'Nobody', thread });
      await expect(missing).rejects.toMatchObject({ code: 'SPAWN_FAILED' });
    }
    expect(zero!.system.stats().actors + one!.system.stats().actors).toBe(0);
  });
});

describe('stop', () => {
  test('an actor may stop itself: it answers, runs onStop once, and what follows is dead', async () => {
    const [zero] = start(1);
    let stops = 0;
    class Ending extends Faulty {
      override onStop(): void {
        stops++;
      }
    }
    const ref = zero!.system.spawnLocal(() => new Ending());
    const answer = ref.ask('stop', IN_MS);
    ref.tell('count');
    expect(await answer).toBe('stopping');
    expect(stops).toBe(1);
    expect(zero!.system.stats()).toMatchObject({ actors: 0, deadLettersByReason: { stopped: 1 } });
  });

  test('waits for the message at hand', async () => {
    const [zero] = start(1);
    const ref = zero!.system.spawnLocal(() => new Faulty());
    const gate = deferred<string>();
    const answer = ref.ask({ waitFor: gate.promise }, IN_MS);
    await eventually(() => zero!.system.stats().types['local']!.received === 1, 'received');
    const stopping = zero!.system.stop(ref);
    gate.resolve('done');
    expect(await answer).toBe('done');
    await stopping;
    expect(zero!.system.stats().actors).toBe(0);
  });
});

test('after a churn of 10,000 actors on two threads every counter that may is zero again', async () => {
  const [zero, one] = start(2, 1 << 20);
  for (let round = 0; round < 10; round++) {
    const refs: ActorRef[] = [];
    for (let index = 0; index < 900; index++) refs.push(zero!.system.spawnLocal(() => new Faulty()));
    const remote = await Promise.all(
      Array.from({ length: 100 }, () => zero!.system.spawn({ module: ACTORS_MODULE, export: 'Faulty', thread: 1 })),
    );
    refs.push(...remote);
    const answers = await Promise.all(refs.map((ref) => ref.ask('count', IN_MS)));
    expect(new Set(answers)).toEqual(new Set([1]));
    await Promise.all(refs.map((ref) => zero!.system.stop(ref)));
  }
  for (const { system } of [zero!, one!]) {
    const stats = system.stats();
    expect(stats).toMatchObject({ actors: 0, asks: 0, queuedBytes: 0, deadLetters: 0 });
    for (const type of Object.values(stats.types)) expect(type).toMatchObject({ live: 0, mailboxDepth: 0 });
  }
  expect(zero!.system.stats().types['local']!.received + one!.system.stats().types['Faulty']!.received).toBe(10_000);
});
