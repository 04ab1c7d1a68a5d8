import { describe, expect, it } from 'vitest';
import { ShardBatchWriter, visitBatch } from './shard-batch.js';
import { ShardMap } from './shard-map.js';

function holders(map: ShardMap, target: string): number[] {
  const found: number[] = [];
  map.visitHolders(target, (worker) => found.push(worker));
  return found;
}

describe('ShardMap', () => {
  it('names the workers that hold a member, and none once the last has left', () => {
    const map = new ShardMap(3);
    for (const worker of [0, 2, 2]) map.apply(worker, ['room', 'r', true]);
    expect(holders(map, 'r')).toEqual([0, 2]);
    map.apply(2, ['room', 'r', false]);
    expect(holders(map, 'r')).toEqual([0, 2]);
    map.apply(2, ['room', 'r', false]);
    map.apply(0, ['room', 'r', false]);
    expect(holders(map, 'r')).toEqual([]);
    expect(holders(map, 'unknown')).toEqual([]);
  });

  it('follows a key to its new worker, whichever of the two is told first', () => {
    const map = new ShardMap(2);
    map.apply(0, ['key', 'k', true]);
    map.apply(1, ['key', 'k', true]);
    map.apply(0, ['key', 'k', false]);
    expect(holders(map, 'k')).toEqual([1]);
    map.apply(1, ['key', 'k', false]);
    expect(holders(map, 'k')).toEqual([]);
  });
});

describe('ShardBatchWriter', () => {
  it('keeps frames of every length with their targets, in order, and starts anew', () => {
    const writer = new ShardBatchWriter();
    const frames = [0, 1, 5_000, 9_000, 96].map((length, index) => new Uint8Array(length).fill(index));
    frames.forEach((frame, index) => {
      writer.add(`t${index}`, frame);
    });
    const seen: [string, Uint8Array][] = [];
    visitBatch(writer.take(), (target, frame) => seen.push([target, frame.slice()]));
    expect(seen).toEqual(frames.map((frame, index) => [`t${index}`, frame]));
    expect(writer.isEmpty).toBe(true);
    expect(writer.take().bytes.byteLength).toBe(0);
  });
});
