import { describe, expect, it } from 'vitest';
import {
  allocateCounters,
  clearGauges,
  indexMetrics,
  METRIC,
  METRICS,
  readThread,
  readTotals,
  ThreadCounters,
} from './index.js';

describe('metrics', () => {
  it('have distinct names in snake case and a sentence each', () => {
    expect(new Set(METRICS.map((row) => row.name)).size).toBe(METRICS.length);
    for (const row of METRICS) {
      expect(row.name).toMatch(/^[a-z]+(_[a-z]+)*$/);
      expect(row.doc).toMatch(/^[A-Z].*\.$/);
    }
  });

  it('are indexed by their place in the table', () => {
    expect(Object.keys(METRIC)).toEqual(METRICS.map((row) => row.name));
    for (const [index, row] of METRICS.entries()) expect(METRIC[row.name]).toBe(index);
  });
});

describe('counters', () => {
  it('start at 0 for every metric and thread', () => {
    const memory = allocateCounters(METRICS, 2);
    for (const values of [readTotals(memory), readThread(memory, 0), readThread(memory, 1)]) {
      expect(Object.keys(values)).toEqual(METRICS.map((row) => row.name));
      expect(new Set(Object.values(values))).toEqual(new Set([0]));
    }
  });

  it('add up over threads, and keep each metric and thread apart', () => {
    const memory = allocateCounters(METRICS, 3);
    const [first, , third] = [0, 1, 2].map((index) => new ThreadCounters(memory, index)) as [
      ThreadCounters,
      ThreadCounters,
      ThreadCounters,
    ];
    first.add(METRIC.frames_out, 3);
    first.add(METRIC.frames_out, 4);
    third.add(METRIC.frames_out, 10);
    third.add(METRIC.batches, 1);
    expect(readThread(memory, 0)).toMatchObject({ frames_out: 7, batches: 0, messages_delivered: 0 });
    expect(readThread(memory, 1)).toMatchObject({ frames_out: 0, batches: 0 });
    expect(readTotals(memory)).toMatchObject({ frames_out: 17, batches: 1 });
    expect(first.get(METRIC.frames_out)).toBe(7);
  });

  it('show shares and windows of the node as those of the worst thread', () => {
    const memory = allocateCounters(METRICS, 2);
    new ThreadCounters(memory, 0).set(METRIC.fanout_duty_ppm, 600_000);
    new ThreadCounters(memory, 1).set(METRIC.fanout_duty_ppm, 500_000);
    expect(readTotals(memory).fanout_duty_ppm).toBe(600_000);
  });

  it('count past 32 bits without loss', () => {
    const memory = allocateCounters(METRICS, 1);
    const counters = new ThreadCounters(memory, 0);
    counters.add(METRIC.bytes_in, 2 ** 40);
    counters.add(METRIC.bytes_in, 1);
    expect(readTotals(memory).bytes_in).toBe(2 ** 40 + 1);
  });

  it('go on in the thread that takes a row over, while its gauges start again at 0', () => {
    const memory = allocateCounters(METRICS, 2);
    const dead = new ThreadCounters(memory, 0);
    dead.add(METRIC.channels_accepted, 5);
    dead.add(METRIC.channels, 5);
    new ThreadCounters(memory, 1).add(METRIC.channels, 2);
    const successor = new ThreadCounters(memory, 0);
    successor.add(METRIC.channels_accepted, 1);
    successor.add(METRIC.channels, 1);
    expect(readTotals(memory)).toMatchObject({ channels_accepted: 6, channels: 3 });
  });

  it('lose the gauges of a dead thread when the supervisor clears them, and nothing else', () => {
    const memory = allocateCounters(METRICS, 2);
    for (const index of [0, 1]) {
      const counters = new ThreadCounters(memory, index);
      counters.add(METRIC.sessions, 4);
      counters.add(METRIC.pushes, 9);
    }
    clearGauges(memory, 0);
    expect(readTotals(memory)).toMatchObject({ sessions: 4, pushes: 18 });
  });

  it("serve an application's own table of metrics", () => {
    const metrics = [
      { name: 'orders', kind: 'counter', total: 'sum', doc: 'Orders.' },
      { name: 'depth', kind: 'gauge', total: 'max', doc: 'Depth.' },
    ] as const;
    const memory = structuredClone(allocateCounters(metrics, 1));
    const own = indexMetrics(metrics);
    new ThreadCounters(memory, 0).add(own.orders, 2);
    expect(readTotals(memory)).toEqual({ orders: 2, depth: 0 });
  });
});
