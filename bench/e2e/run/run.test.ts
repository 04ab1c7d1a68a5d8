import { describe, expect, it } from 'vitest';
import type { RunResult } from './measure.js';
import { DEFAULT_SERVER_NAMES, parseOptions } from './options.js';
import { failuresOf, median } from './report.js';

const CLEAN: RunResult = {
  server: 'halley',
  run: 1,
  readyCount: 10,
  failedCount: 0,
  closedCount: 0,
  connectMs: 1,
  connectCpuUs: 1,
  baseRssMb: 1,
  rssPerConnectionKb: 1,
  cpu: undefined,
  nsPerMessage: 1,
  churnDeliveredCount: 0,
  counters: undefined,
  delivery: {
    offeredCount: 2,
    acceptedCount: 2,
    refusedCount: 0,
    expectedCount: 20,
    deliveredCount: 20,
    lostCount: 0,
    duplicateCount: 0,
    backwardCount: 0,
    minPerConnection: 2,
    maxPerConnection: 2,
    frameCount: 20,
    readCount: 20,
    readBytes: 2000,
    segmentCount: 20,
    deliveredPerSec: 1,
    p50Ms: 1,
    p99Ms: 1,
    p999Ms: 1,
    maxMs: 1,
    publisherLateMs: 0,
    windowMs: 1,
    clientCores: 0,
  },
};

describe('parseOptions', () => {
  it('makes one case per rate of a scenario', () => {
    const options = parseOptions(['--scenario', 'room', '--rate', '1,2', '--members', '30', '--only', 'ws']);
    expect(options?.cases.map(({ ratePerSec, members }) => [ratePerSec, members])).toEqual([
      [1, 30],
      [2, 30],
    ]);
    expect(options?.servers).toEqual(['ws']);
    expect(parseOptions([])?.servers).toEqual(DEFAULT_SERVER_NAMES);
    expect(parseOptions(['--only', 'halley,ws', '--transport', 'ws,tcp'])?.servers).toEqual([
      'halley',
      'halley-tcp',
      'ws',
    ]);
    expect(parseOptions(['--only', 'halley', '--transport', 'tcp'])?.servers).toEqual(['halley-tcp']);
    expect(parseOptions(['--only', 'uws-post'])?.servers).toEqual(['uws-post']);
    expect(parseOptions(['--rate', '7', '--scenario', 'idle'])?.cases[0]?.ratePerSec).toBe(0);
  });

  it('refuses what it does not know, naming what there is', () => {
    expect(() => parseOptions(['--only', 'nats'])).toThrow(/"nats" is none of halley, uws/);
    expect(() => parseOptions(['--members', 'many'])).toThrow(/--members must be a number/);
    expect(() => parseOptions(['--speed', '1'])).toThrow(/--speed/);
  });

  it('gives churn to small rooms and several nodes to the nodes scenario only', () => {
    const options = parseOptions([
      '--scenario',
      'room,small-rooms,nodes',
      '--churn',
      '50',
      '--nodes',
      '3',
      '--rate',
      '1',
    ]);
    expect(options?.cases.map((one) => [one.scenario, one.churnPerSec, one.nodeCount])).toEqual([
      ['room', 0, 1],
      ['small-rooms', 50, 1],
      ['nodes', 0, 3],
    ]);
    const hasNodes = (argv: readonly string[]) => parseOptions(argv)?.cases.some(({ nodeCount }) => nodeCount > 1);
    expect([hasNodes([]), hasNodes(['--smoke'])]).toEqual([false, true]);
  });

  it('measures a target alone, or beside the servers that are named', () => {
    expect(parseOptions(['--target', 'ws://10.0.0.1:3102/sub'])).toMatchObject({
      servers: ['target'],
      target: { host: '10.0.0.1', port: 3102, path: '/sub', httpHost: '10.0.0.1', httpPort: 3111 },
    });
    expect(parseOptions(['--target', 'ws://10.0.0.1:3102/sub', '--only', 'uws'])?.servers).toEqual(['uws', 'target']);
  });
});

describe('failuresOf', () => {
  it('finds nothing wrong with a clean run', () => {
    expect(failuresOf(CLEAN)).toEqual([]);
  });

  it('names refusals, loss, duplicates, disorder and lost connections', () => {
    const { delivery } = CLEAN;
    const bad = { ...delivery!, refusedCount: 1, lostCount: 1, duplicateCount: 2, backwardCount: 3 };
    expect(failuresOf({ ...CLEAN, closedCount: 4, failedCount: 5, delivery: bad })).toEqual([
      'halley, run 1: 5 connections failed, 10 were ready',
      'halley, run 1: 4 connections were closed',
      'halley, run 1: 1 of 2 messages refused',
      'halley, run 1: 1 of 20 messages lost',
      'halley, run 1: 2 duplicates',
      'halley, run 1: 3 messages out of order',
    ]);
  });

  it('takes silence for a failure: a run that expected nothing proves nothing', () => {
    const silent = { ...CLEAN.delivery!, deliveredCount: 0, expectedCount: 0 };
    expect(failuresOf({ ...CLEAN, delivery: silent })).toEqual(['halley, run 1: nothing was delivered']);
  });
});

describe('median', () => {
  it('is the middle of what is known', () => {
    expect(median([5, undefined, 1, 3])).toBe(3);
    expect(median([4, 2])).toBe(2);
    expect(median([undefined])).toBeNaN();
  });
});
