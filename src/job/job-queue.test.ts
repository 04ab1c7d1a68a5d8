import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HalleyError } from '../errors/index.js';
import { PUSH_OUTCOME, type PushCommand, type PushOutcome, type PushTarget } from '../push/index.js';
import { commandBytes, JobQueue } from './index.js';

const LIMITS = { maxCount: 100, maxBytes: 100_000, messageMaxBytes: 4096 };

/** A comet that says what the test wants and remembers what it took. */
class ScriptedComet {
  readonly taken: string[] = [];
  /** How many more commands it takes before it says `full`. */
  space = Number.POSITIVE_INFINITY;
  answer: PushOutcome = PUSH_OUTCOME.OK;
  attempts = 0;
  onDeliver: ((command: PushCommand) => void) | undefined;

  deliver(command: PushCommand): PushOutcome {
    this.attempts++;
    if (this.answer !== PUSH_OUTCOME.OK) return this.answer;
    if (this.space <= 0) return PUSH_OUTCOME.FULL;
    this.space--;
    this.taken.push(label(command));
    this.onDeliver?.(command);
    return PUSH_OUTCOME.OK;
  }
}

/** `rooms a,b:1` and the like: target and first byte of the body. */
function label(command: PushCommand): string {
  const { target } = command;
  const names =
    target.kind === 'keys'
      ? target.keys
      : target.kind === 'mids'
        ? target.mids
        : target.kind === 'rooms'
          ? target.rooms
          : [];
  return `${target.kind} ${names.join(',')}:${command.body[0]}`;
}

function command(target: PushTarget, first = 0, bodyBytes = 1): PushCommand {
  const body = new Uint8Array(bodyBytes);
  body[0] = first;
  return { target, op: 1000, body };
}
const toKey = (first: number, bodyBytes?: number) => command({ kind: 'keys', keys: ['k'] }, first, bodyBytes);
const toRooms = (rooms: string[], first = 0, bodyBytes?: number) => command({ kind: 'rooms', rooms }, first, bodyBytes);

describe('JobQueue', () => {
  it('hands over at once while nothing waits, and keeps nothing', () => {
    const comet = new ScriptedComet();
    const queue = new JobQueue(comet, LIMITS);
    expect(queue.push(toKey(1))).toBe('ok');
    expect(comet.taken).toEqual(['keys k:1']);
    expect(queue.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 0 });
  });

  it('keeps what the comet has no room for and delivers it in the order of acceptance, over all targets', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, LIMITS);
    const commands = [
      toKey(1),
      toRooms(['a', 'b'], 2),
      command({ kind: 'mids', mids: [7, 8] }, 3),
      command({ kind: 'all', speedPerSec: 0 }, 4),
      toKey(5),
    ];
    for (const one of commands) expect(queue.push(one)).toBe('ok');
    expect(queue.gauges().queuedCount).toBe(6);
    comet.space = 2;
    expect(queue.push(toKey(6))).toBe('ok');
    expect(comet.taken).toEqual([]);
    comet.space = Number.POSITIVE_INFINITY;
    expect(await queue.drain(5000)).toBe(true);
    expect(comet.taken).toEqual(['keys k:1', 'rooms a:2', 'rooms b:2', 'mids 7,8:3', 'all :4', 'keys k:5', 'keys k:6']);
    expect(queue.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 0 });
  });

  it('answers full at the message bound and at the byte bound, and keeps nothing of it', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const byCount = new JobQueue(comet, { ...LIMITS, maxCount: 2 });
    expect([1, 2, 3].map((first) => byCount.push(toKey(first)))).toEqual(['ok', 'ok', 'full']);

    const one = commandBytes(toKey(1, 500));
    const byBytes = new JobQueue(comet, { ...LIMITS, maxBytes: 2 * one });
    expect([4, 5, 6].map((first) => byBytes.push(toKey(first, 500)))).toEqual(['ok', 'ok', 'full']);
    expect(byBytes.gauges().queuedBytes).toBe(2 * one);

    comet.space = Number.POSITIVE_INFINITY;
    expect(await byCount.drain(5000)).toBe(true);
    expect(await byBytes.drain(5000)).toBe(true);
    expect([...comet.taken].sort()).toEqual(['keys k:1', 'keys k:2', 'keys k:4', 'keys k:5']);
  });

  it('answers too_large at once, whether or not something waits, and never queues it', () => {
    const comet = new ScriptedComet();
    const queue = new JobQueue(comet, LIMITS);
    expect(queue.push(toKey(1, 4097))).toBe('too_large');
    comet.space = 0;
    queue.push(toKey(2));
    expect(queue.push(toKey(3, 4097))).toBe('too_large');
    expect(queue.gauges().queuedCount).toBe(1);
    comet.answer = PUSH_OUTCOME.TOO_LARGE;
    expect(new JobQueue(comet, LIMITS).push(toKey(4))).toBe('too_large');
    queue.close();
  });

  it('delivers each room of a list as its own command and never repeats one that was taken', async () => {
    const comet = new ScriptedComet();
    comet.space = 2;
    const queue = new JobQueue(comet, LIMITS);
    expect(queue.push(toRooms(['a', 'b', 'c', 'd', 'a'], 9))).toBe('ok');
    expect(comet.taken).toEqual(['rooms a:9', 'rooms b:9']);
    expect(queue.gauges().queuedCount).toBe(2);
    comet.space = Number.POSITIVE_INFINITY;
    expect(await queue.drain(5000)).toBe(true);
    expect(comet.taken).toEqual(['rooms a:9', 'rooms b:9', 'rooms c:9', 'rooms d:9']);
  });

  it('takes a list of rooms whole or not at all', () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, { ...LIMITS, maxCount: 3 });
    expect(queue.push(toKey(1))).toBe('ok');
    expect(queue.push(toRooms(['a', 'b', 'c']))).toBe('full');
    expect(queue.gauges().queuedCount).toBe(1);
    expect(queue.push(toRooms(['a', 'b', 'c', 'd']))).toBe('too_large');
    expect(queue.push(toRooms(['a', 'b']))).toBe('ok');
    queue.close();
  });

  it('refuses a list that could not wait whole before the comet has seen any of its rooms', () => {
    const comet = new ScriptedComet();
    const queue = new JobQueue(comet, { ...LIMITS, maxCount: 2 });
    expect(queue.push(toRooms(['a', 'b', 'c']))).toBe('too_large');
    expect(comet.attempts).toBe(0);
  });

  it('queues a push that comes from inside deliver behind the rest of the list that is on its way', async () => {
    const comet = new ScriptedComet();
    const queue = new JobQueue(comet, LIMITS);
    comet.onDeliver = (one) => {
      if (label(one) === 'rooms a:1') expect(queue.push(toKey(2))).toBe('ok');
    };
    expect(queue.push(toRooms(['a', 'b'], 1))).toBe('ok');
    expect(await queue.drain(5000)).toBe(true);
    expect(comet.taken).toEqual(['rooms a:1', 'rooms b:1', 'keys k:2']);
  });

  it('goes on past a waiting message that turns out too large for the comet, and counts it', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, LIMITS);
    queue.push(toKey(1));
    queue.push(toKey(2));
    comet.answer = PUSH_OUTCOME.TOO_LARGE;
    expect(await queue.drain(5000)).toBe(true);
    expect(queue.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 2 });
  });

  it('answers closed after close, counts what it dropped, and tells a waiting drain', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, LIMITS);
    queue.push(toKey(1));
    const draining = queue.drain(60_000);
    queue.close();
    queue.close();
    expect(await draining).toBe(false);
    expect(queue.push(toKey(2))).toBe('closed');
    expect(queue.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 1 });
  });

  it('may be closed from inside deliver: what was handed over counts as delivered, the rest as lost', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, LIMITS);
    for (const first of [1, 2, 3]) queue.push(toKey(first));
    comet.onDeliver = () => queue.close();
    comet.space = 10;
    expect(await queue.drain(5000)).toBe(false);
    expect(comet.taken).toEqual(['keys k:1']);
    expect(queue.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 2 });

    const direct = new JobQueue(comet, LIMITS);
    comet.onDeliver = () => {
      direct.close();
      comet.space = 0;
    };
    expect(direct.push(toRooms(['a', 'b', 'c']))).toBe('ok');
    expect(direct.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 2 });
  });

  it("goes on after a comet that threw, which is the caller's exception", () => {
    const comet = new ScriptedComet();
    const queue = new JobQueue(comet, LIMITS);
    comet.onDeliver = () => {
      throw new Error('a defect of the comet');
    };
    expect(() => queue.push(toKey(1))).toThrow('a defect of the comet');
    comet.onDeliver = undefined;
    expect(queue.push(toKey(2))).toBe('ok');
    expect(comet.taken.at(-1)).toBe('keys k:2');
  });

  it('is closed by a comet that is closed', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, LIMITS);
    queue.push(toKey(1));
    comet.answer = PUSH_OUTCOME.CLOSED;
    expect(await queue.drain(5000)).toBe(false);
    expect(queue.push(toKey(2))).toBe('closed');

    const idle = new JobQueue(comet, LIMITS);
    expect(idle.push(toKey(3))).toBe('closed');
    comet.answer = PUSH_OUTCOME.OK;
    expect(idle.push(toKey(3))).toBe('closed');
  });

  it('says false when draining takes longer than allowed, true at once when nothing waits', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, LIMITS);
    expect(await queue.drain(0)).toBe(true);
    queue.push(toKey(1));
    expect(await queue.drain(0)).toBe(false);
    expect(await queue.drain(5)).toBe(false);
    expect(queue.gauges().queuedCount).toBe(1);
    queue.close();
  });

  it('leaves the event loop to others while it empties a long queue', async () => {
    const comet = new ScriptedComet();
    comet.space = 0;
    const queue = new JobQueue(comet, { maxCount: 5000, maxBytes: 10_000_000, messageMaxBytes: 4096 });
    for (let index = 0; index < 5000; index++) queue.push(toKey(index & 255));
    comet.space = Number.POSITIVE_INFINITY;
    const takenPerTurn: number[] = [];
    const draining = queue.drain(20_000);
    for (let last = 0; last < 5000; ) {
      await new Promise((resolve) => setImmediate(resolve));
      if (comet.taken.length > last) takenPerTurn.push(comet.taken.length - last);
      last = comet.taken.length;
    }
    expect(await draining).toBe(true);
    expect(takenPerTurn.length).toBeGreaterThan(1);
    expect(Math.max(...takenPerTurn)).toBeLessThan(5000);
  });

  it('keeps order, counts and bounds under any sequence of pushes and of a comet that is full now and then', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('key' as const), n: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ kind: fc.constant('rooms' as const), n: fc.integer({ min: 0, max: 6 }) }),
      fc.record({ kind: fc.constant('space' as const), n: fc.integer({ min: 0, max: 8 }) }),
      fc.record({ kind: fc.constant('turn' as const), n: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const comet = new ScriptedComet();
        const queue = new JobQueue(comet, { maxCount: 8, maxBytes: 1500, messageMaxBytes: 150, retryMs: 0 });
        const accepted: string[] = [];
        let first = 0;
        for (const { kind, n } of steps) {
          if (kind === 'space') comet.space = n;
          else if (kind === 'turn') await new Promise((resolve) => setImmediate(resolve));
          else {
            first = (first + 1) & 255;
            const rooms = Array.from({ length: n }, (_, index) => `r${index}`);
            const one = kind === 'key' ? toKey(first, n) : toRooms(rooms, first);
            const outcome = queue.push(one);
            if (kind === 'key' && n > 150) expect(outcome).toBe('too_large');
            if (outcome === 'ok')
              accepted.push(...(kind === 'key' ? [label(one)] : rooms.map((r) => `rooms ${r}:${first}`)));
          }
          const { queuedCount, queuedBytes } = queue.gauges();
          expect(queuedCount).toBeLessThanOrEqual(8);
          expect(queuedBytes).toBeLessThanOrEqual(1500);
          expect(comet.taken.length + queuedCount).toBe(accepted.length);
        }
        comet.space = Number.POSITIVE_INFINITY;
        expect(await queue.drain(5000)).toBe(true);
        expect(comet.taken).toEqual(accepted);
        expect(queue.gauges()).toMatchObject({ queuedCount: 0, queuedBytes: 0, lostCount: 0 });
      }),
      { numRuns: 60 },
    );
  });

  it('does not keep the process alive while messages wait', () => {
    const script = `
      import { JobQueue } from ${JSON.stringify(new URL('../../dist/job/index.js', import.meta.url).href)};
      const queue = new JobQueue({ deliver: () => 'full' }, ${JSON.stringify(LIMITS)});
      const outcome = queue.push({ target: { kind: 'keys', keys: ['k'] }, op: 1, body: new Uint8Array(1) });
      if (outcome !== 'ok') process.exit(3);
      process.on('exit', () => process.stdout.write('queued ' + queue.gauges().queuedCount));
    `;
    const run = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { timeout: 20_000 });
    expect(run.stderr.toString()).toBe('');
    expect(run.stdout.toString()).toBe('queued 1');
    expect(run.status).toBe(0);
  });

  it('refuses bounds that are not positive integers', () => {
    const comet = new ScriptedComet();
    for (const wrong of [{ maxCount: 0 }, { maxBytes: 1.5 }, { messageMaxBytes: Number.NaN }]) {
      expect(() => new JobQueue(comet, { ...LIMITS, ...wrong })).toThrow(HalleyError);
    }
  });
});
