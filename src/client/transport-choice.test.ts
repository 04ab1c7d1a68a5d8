import { describe, expect, it } from 'vitest';
import { FakeTransport } from './fixtures/fake-transport.js';
import type { Transport } from './transport.port.js';
import { TransportChoice } from './transport-choice.js';

const [A, B] = ['ws://a/sub', 'ws://b/sub'];

function made() {
  const [fast, slow, slowest]: readonly Transport[] = ['fast', 'slow', 'slowest'].map(
    (name) => new FakeTransport(name),
  );
  const choice = new TransportChoice([fast!, slow!, slowest!]);
  /** Tries until one is picked that is in `working`. @returns what was tried, and the wait for a better one */
  const run = (address: string, working: readonly string[], nowMs: number) => {
    const tried: string[] = [];
    while (tried.length < 20) {
      const transport = choice.pick(address, nowMs)!;
      tried.push(transport.name);
      if (working.includes(transport.name)) return { tried, retryMs: choice.worked(transport, address, nowMs) };
      choice.failed(transport, address);
    }
    return { tried, retryMs: undefined };
  };
  return { choice, fast: fast!, slow: slow!, run };
}

describe('the choice of a transport', () => {
  it('takes the first that is able to, and no other as long as it works', () => {
    const { choice, run, fast } = made();
    expect(run(A, ['fast', 'slow'], 0)).toEqual({ tried: ['fast'], retryMs: undefined });
    for (let failed = 0; failed < 10; failed++) expect(choice.failed(fast, A)).toBe(false);
    expect(choice.pick(B, 0)).toBe(fast);
    expect(choice.pick('tcp://a:1', 0)).toBeUndefined();
  });

  it('passes over one after two failures, and begins anew where all have failed', () => {
    const { run } = made();
    expect(run(A, [], 0).tried.slice(0, 8)).toEqual([
      ...['fast', 'fast', 'slow', 'slow', 'slowest', 'slowest', 'fast', 'fast'],
    ]);
  });

  it('gives a better one its turn after 30 s, however often it failed while nothing worked', () => {
    const { choice, run, fast, slow } = made();
    run(A, [], 0);
    const { retryMs } = run(A, ['slow'], 0);
    expect(retryMs).toBe(30_000);
    expect(choice.pick(A, 29_999)).toBe(slow);
    expect(choice.pick(A, 30_000)).toBe(fast);
    expect(choice.worked(fast, A, 30_000)).toBeUndefined();
    expect(choice.pick(A, 30_000)).toBe(fast);
  });

  it('makes the wait four times as long for each failure on a node where the slower one works, up to an hour', () => {
    const { run } = made();
    let nowMs = 0;
    let { retryMs } = run(A, ['slow'], nowMs);
    const waits = [retryMs];
    for (let turn = 0; turn < 5; turn++) {
      nowMs += retryMs!;
      const next = run(A, ['slow'], nowMs);
      expect(next.tried).toEqual(['fast', 'slow']);
      retryMs = next.retryMs;
      waits.push(retryMs);
    }
    expect(waits).toEqual([30_000, 120_000, 480_000, 1_920_000, 3_600_000, 3_600_000]);
  });

  it('has no strike against it for a failure on another node, nor for one while the slower one failed too', () => {
    const { choice, run, fast, slow } = made();
    run(A, ['slow'], 0);
    expect(choice.failed(fast, A)).toBe(true);
    expect(choice.worked(slow, B, 30_000)).toBe(30_000);
    choice.failed(fast, B);
    choice.failed(slow, B);
    // Due as before, since the node was away.
    expect(choice.pick(B, 60_000)).toBe(fast);
    expect(choice.worked(slow, B, 59_000)).toBe(1_000);
  });

  it('forgets everything on another network', () => {
    const { choice, run, fast } = made();
    run(A, ['slowest'], 0);
    choice.forget();
    expect(choice.pick(A, 0)).toBe(fast);
  });
});
