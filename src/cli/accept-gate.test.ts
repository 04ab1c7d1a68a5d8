import { expect, it } from 'vitest';
import { allocateAcceptGate, setAcceptGates } from './accept-gate.js';

/** The gates after one round of counts; the control thread is index 0 and never up as a bucket. */
function gates(counts: readonly (number | undefined)[], aboveMeanRatio = 1.25): number[] {
  const memory = allocateAcceptGate(counts.length);
  setAcceptGates(memory, counts, aboveMeanRatio);
  return [...new Int32Array(memory)];
}

it('closes a bucket that holds more than its share, and no other', () => {
  expect(gates([undefined, 2_000, 1_000, 1_000])).toEqual([0, 1, 0, 0]);
  expect(gates([undefined, 2_000, 2_000, 0])).toEqual([0, 1, 1, 0]);
});

it('leaves everyone open within the ratio, and where the difference is small', () => {
  expect(gates([undefined, 1_250, 1_000, 750])).toEqual([0, 0, 0, 0]);
  expect(gates([undefined, 300, 0])).toEqual([0, 0, 0]);
  expect(gates([undefined, 0, 0])).toEqual([0, 0, 0]);
});

it('never closes a bucket that is alone: somebody must accept', () => {
  expect(gates([undefined, 10_000])).toEqual([0, 0]);
  expect(gates([undefined, 10_000, undefined])).toEqual([0, 0, 0]);
});

it('never closes all of them', () => {
  for (const ratio of [1, 1.25, 2]) {
    expect(gates([undefined, 10_000, 10_000, 10_000], ratio)).toContain(0);
    expect(gates([undefined, 90_000, 10_000, 0], ratio).slice(1)).toContain(0);
  }
});

it('opens again when the others have caught up, or the bucket is gone', () => {
  const memory = allocateAcceptGate(3);
  const now = () => [...new Int32Array(memory)];
  setAcceptGates(memory, [undefined, 2_000, 0], 1.25);
  expect(now()).toEqual([0, 1, 0]);
  setAcceptGates(memory, [undefined, 2_000, 1_800], 1.25);
  expect(now()).toEqual([0, 0, 0]);
  setAcceptGates(memory, [undefined, 2_000, 0], 1.25);
  setAcceptGates(memory, [undefined, undefined, 0], 1.25);
  expect(now()).toEqual([0, 0, 0]);
});
