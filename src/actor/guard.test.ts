import { describe, expect, test } from 'vitest';
import { ThreadCrash } from './crash.js';
import { eventually } from './fixtures/eventually.js';
import { guard, guardHttp } from './guard.js';

/** A process whose exit can be seen. */
function fakeProcess(): {
  exits: unknown[];
  listeners: Map<string, (error: unknown) => void>;
  exit: (code?: number | string | null) => never;
  on(event: string, listener: (error: unknown) => void): void;
} {
  const exits: unknown[] = [];
  const listeners = new Map<string, (error: unknown) => void>();
  return {
    exits,
    listeners,
    exit: ((code: unknown) => exits.push(code)) as unknown as (code?: number | string | null) => never,
    on: (event, listener) => {
      listeners.set(event, listener);
    },
  };
}

describe('guard', () => {
  test('hands on up to four arguments, and a throw or a rejection goes to the sink', async () => {
    const errors: unknown[] = [];
    const seen: unknown[] = [];
    const wrapped = guard(
      (a: number, b: number, c: number, d: number) => {
        seen.push([a, b, c, d]);
        if (a === 1) throw new Error('thrown');
        return a === 2 ? Promise.reject(new Error('rejected')) : undefined;
      },
      (error) => errors.push((error as Error).message),
      () => false,
    );
    wrapped(0, 1, 2, 3);
    expect(seen).toEqual([[0, 1, 2, 3]]);
    wrapped(1, 0, 0, 0);
    wrapped(2, 0, 0, 0);
    await eventually(() => errors.length === 2, 'both errors');
    expect(errors).toEqual(['thrown', 'rejected']);
  });

  test('an inert callback does nothing; an inert HTTP handler still attaches onAborted', () => {
    let calls = 0;
    let attached = 0;
    const isInert = (): boolean => true;
    guard(
      () => calls++,
      () => {},
      isInert,
    )(undefined, undefined, undefined, undefined);
    const response = { onAborted: () => attached++ };
    guardHttp(
      () => calls++,
      () => {},
      isInert,
    )(response, undefined, undefined, undefined);
    expect({ calls, attached }).toEqual({ calls: 0, attached: 1 });
  });
});

describe('a dying thread', () => {
  test('is inert first, closes its sockets in a later turn, and exits after that, once', async () => {
    const fake = fakeProcess();
    const crash = new ThreadCrash(fake);
    const log: string[] = [];
    crash.onDying((reason) => log.push(`dying of ${reason.message}`));
    crash.onDying(() => {
      throw new Error('hook');
    });
    crash.onCloseSockets(() => {
      throw new Error('close');
    });
    crash.onCloseSockets(() => log.push(`close, exits ${fake.exits.length}`));
    const inner = crash.guard(() => log.push('handler'));
    crash.die(new Error('first'));
    crash.die(new Error('second'));
    inner(undefined, undefined, undefined, undefined);
    expect(log).toEqual(['dying of first']);
    await eventually(() => fake.exits.length === 1, 'exited');
    expect(log).toEqual(['dying of first', 'close, exits 0']);
    expect(crash.discarded.counts()).toEqual({
      'onDying hook': 1,
      'onCloseSockets hook': 1,
      'thread is dying already': 1,
    });
  });

  test('dies of uncaught exceptions, unhandled rejections and process.exit, which unwinds its caller', () => {
    for (const event of ['uncaughtException', 'unhandledRejection', 'exit']) {
      const fake = fakeProcess();
      const crash = new ThreadCrash(fake);
      crash.install();
      if (event === 'exit') expect(() => fake.exit(3)).toThrow(/exit_code=3/);
      else fake.listeners.get(event)!('a thrown string');
      expect(crash.isDying).toBe(true);
    }
  });

  test('an error with a sink costs what the sink says, one without a sink costs the thread', () => {
    const crash = new ThreadCrash(fakeProcess());
    const errors: unknown[] = [];
    const fail = (): never => {
      throw new Error('x');
    };
    crash.guard(fail, (error) => errors.push(error))(undefined, undefined, undefined, undefined);
    expect(errors).toHaveLength(1);
    expect(crash.isDying).toBe(false);
    crash.guard(fail)(undefined, undefined, undefined, undefined);
    expect(crash.isDying).toBe(true);
  });
});
