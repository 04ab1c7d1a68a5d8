import { expect, it } from 'vitest';
import type { ActorSystemStats } from '../actor/index.js';
import { DiscardCounter } from '../errors/index.js';
import { allocateCounters, METRICS, readTotals, ThreadCounters } from '../telemetry/index.js';
import { RuntimeCounters } from './runtime-counters.js';

function stats(deadLetters: number, restarted: number): ActorSystemStats {
  const type = { live: 1, received: 0, failed: restarted, mailboxDepth: 0 };
  return {
    types: { room: { ...type, restarted }, user: { ...type, restarted: 1 } },
    actors: 2,
    asks: 0,
    queuedBytes: 0,
    deadLetters,
    deadLettersByReason: {},
  };
}

it('adds growth, so that counters go on where a fresh thread counts from zero again', () => {
  const memory = allocateCounters(METRICS, 2);
  const counters = new ThreadCounters(memory, 1);
  const discards = new DiscardCounter();
  let notified = 5;
  let deadLetters = 2;
  const live = new RuntimeCounters(counters, {
    runtime: { stats: () => ({ notified, gaps: 0, unhandled: 0 }) },
    system: { stats: () => stats(deadLetters, 3) },
    discards: [discards],
  });
  live.sample();
  notified = 9;
  deadLetters = 3;
  discards.ignore(new Error('late'), 'a reason');
  live.sample();
  expect(readTotals(memory)).toMatchObject({ doorbells: 9, dead_letters: 3, actor_restarts: 4, discarded: 1 });

  const fresh = new RuntimeCounters(new ThreadCounters(memory, 1), {
    runtime: { stats: () => ({ notified: 1, gaps: 0, unhandled: 0 }) },
    system: { stats: () => stats(0, 0) },
    discards: [],
  });
  fresh.sample();
  expect(readTotals(memory)).toMatchObject({ doorbells: 10, dead_letters: 3, actor_restarts: 5, discarded: 1 });
});
