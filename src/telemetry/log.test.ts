import { describe, expect, it } from 'vitest';
import { LOG_LEVELS, memoryLog, pinoLogger, stormGuard } from './index.js';

/** A pino logger and the lines it writes, parsed. */
function pinoLines(level: Parameters<typeof pinoLogger>[0]['level']) {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = pinoLogger({ level, fields: { server_id: 'n1' }, destination });
  return { logger, parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

/** An error as if thrown at `place`. */
function errorAt(place: string): Error {
  const error = new Error('boom');
  error.stack = `Error: boom\n    at ${place}`;
  return error;
}

describe('memory log', () => {
  it('keeps records in order with level, fields and message', () => {
    const { logger, records } = memoryLog();
    for (const level of LOG_LEVELS) logger[level]({ level }, `at ${level}`);
    expect(records).toEqual(LOG_LEVELS.map((level) => ({ level, fields: { level }, message: `at ${level}` })));
  });

  it("adds a child's fields to its records, where the record's own win", () => {
    const { logger, records } = memoryLog();
    logger.child({ bucket: 1, room: 'a' }).child({ actor: 'x' }).info({ room: 'b' }, 'm');
    expect(records[0]?.fields).toEqual({ bucket: 1, actor: 'x', room: 'b' });
  });
});

describe('pino logger', () => {
  it('writes one JSON line with level, time, own fields and message', () => {
    const { logger, parsed } = pinoLines('info');
    logger.child({ bucket: 2 }).warn({ room: 'r' }, 'hello');
    expect(parsed()).toEqual([
      {
        level: 'warn',
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        server_id: 'n1',
        bucket: 2,
        room: 'r',
        msg: 'hello',
      },
    ]);
  });

  it('writes nothing below its level, and nothing at all when silent', () => {
    const info = pinoLines('info');
    info.logger.debug({}, 'd');
    info.logger.info({}, 'i');
    expect(info.parsed().map((line) => line['msg'])).toEqual(['i']);
    const silent = pinoLines('silent');
    silent.logger.fatal({}, 'f');
    expect(silent.parsed()).toEqual([]);
  });

  it('writes stack and cause of an error', () => {
    const { logger, parsed } = pinoLines('error');
    logger.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    const written = parsed()[0]?.['err'] as { stack: string; message: string; cause: { message: string } };
    expect(written.stack).toContain('log.test.ts');
    expect([written.message, written.cause.message]).toEqual(['outer', 'inner']);
  });

  it('redacts fields that are named like secrets', () => {
    const { logger, parsed } = pinoLines('info');
    logger.info({ token: 's3cret', headers: { authorization: 'Bearer s3cret', host: 'h' } }, 'm');
    expect(JSON.stringify(parsed())).not.toContain('s3cret');
    expect(parsed()[0]).toMatchObject({ token: '[redacted]', headers: { authorization: '[redacted]', host: 'h' } });
  });
});

describe('storm guard', () => {
  function guarded(maxDistinct = 256) {
    const clock = { nowMs: 1000 };
    const { logger: target, records } = memoryLog();
    const guard = stormGuard({ target, nowMs: () => clock.nowMs, windowMs: 100, maxDistinct });
    return {
      clock,
      guard,
      logger: guard.logger,
      lines: () => records.map(({ message, fields }) => [message, fields['repeats']]),
    };
  }

  it('passes the first of many like records, and counts the others', () => {
    const { logger, lines, guard } = guarded();
    for (let index = 0; index < 10_000; index++) logger.error({ err: errorAt('a.js:1'), index }, 'failed');
    expect(lines()).toEqual([['failed', undefined]]);
    guard.flush();
    expect(lines()).toEqual([
      ['failed', undefined],
      ['failed (repeated)', 9999],
    ]);
  });

  it('reports the count when the window has passed, at a sweep or at the next such record', () => {
    const { logger, lines, clock, guard } = guarded();
    logger.warn({}, 'a');
    logger.warn({}, 'a');
    clock.nowMs += 99;
    guard.sweep();
    expect(lines()).toEqual([['a', undefined]]);
    clock.nowMs += 1;
    guard.sweep();
    expect(lines().at(-1)).toEqual(['a (repeated)', 1]);
    logger.warn({}, 'a');
    logger.warn({}, 'a');
    clock.nowMs += 100;
    logger.warn({}, 'a');
    expect(lines().slice(2)).toEqual([
      ['a', undefined],
      ['a (repeated)', 1],
      ['a', undefined],
    ]);
  });

  it('tells apart level, message, and the place an error comes from', () => {
    const { logger, lines } = guarded();
    logger.warn({}, 'a');
    logger.error({}, 'a');
    logger.error({}, 'b');
    logger.error({ err: errorAt('a.js:1') }, 'b');
    logger.error({ err: errorAt('a.js:2') }, 'b');
    logger.error({ err: errorAt('a.js:2') }, 'b');
    expect(lines().length).toBe(5);
  });

  it('says nothing about a record that did not repeat', () => {
    const { logger, lines, guard } = guarded();
    logger.warn({}, 'a');
    guard.flush();
    expect(lines()).toEqual([['a', undefined]]);
  });

  it('remembers a bounded number of records, and reports the oldest when it forgets it', () => {
    const { logger, lines } = guarded(2);
    logger.warn({}, 'a');
    logger.warn({}, 'a');
    logger.warn({}, 'b');
    logger.warn({}, 'c');
    expect(lines()).toEqual([
      ['a', undefined],
      ['b', undefined],
      ['a (repeated)', 1],
      ['c', undefined],
    ]);
  });

  it('loses no record without counting it, whatever the order of records, clock and sweeps', () => {
    const { logger, lines, clock, guard } = guarded(3);
    let randomState = 12_345;
    const random = (below: number) => {
      randomState = (randomState * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((randomState / 2 ** 31) * below);
    };
    for (let index = 0; index < 5000; index++) {
      logger.info({}, `m${random(6)}`);
      clock.nowMs += random(30);
      if (random(10) === 0) guard.sweep();
    }
    guard.flush();
    const accounted = lines().reduce((sum, [, repeats]) => sum + ((repeats as number | undefined) ?? 1), 0);
    expect(accounted).toBe(5000);
    expect(lines().length).toBeLessThan(5000);
  });

  it('always passes fatal records', () => {
    const { logger, lines } = guarded();
    logger.fatal({}, 'end');
    logger.fatal({}, 'end');
    expect(lines().length).toBe(2);
  });

  it("guards a child's records with the same memory", () => {
    const { logger, lines, guard } = guarded();
    logger.child({ bucket: 1 }).warn({}, 'a');
    logger.child({ bucket: 2 }).warn({}, 'a');
    guard.flush();
    expect(lines().at(-1)).toEqual(['a (repeated)', 1]);
  });

  it('refuses a window or a memory of nothing', () => {
    const { logger: target } = memoryLog();
    expect(() => stormGuard({ target, nowMs: () => 0, windowMs: 0 })).toThrow('windowMs must be above 0: windowMs=0');
    expect(() => stormGuard({ target, nowMs: () => 0, maxDistinct: 0 })).toThrow('maxDistinct=0');
  });
});
