/**
 * `halley bench` as it ships: the compiled command, its load clients and its server in processes of their own.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HalleyProcess, startHalley } from '../kit/index.js';

type BenchModule = typeof import('../../src/cli/bench-command.js');
const compiled = new URL('../../dist/cli/bench-command.js', import.meta.url).href;

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

interface Terminal {
  readonly progressColumns?: number;
  readonly env?: Readonly<Record<string, string>>;
}

async function bench(argv: readonly string[], { progressColumns = 0, env = {} }: Terminal = {}): Promise<Ran> {
  const { runBenchCommand } = (await import(/* @vite-ignore */ compiled)) as BenchModule;
  let out = '';
  let err = '';
  const code = await runBenchCommand(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    progressColumns,
    env: { ...process.env, ...env },
  });
  return { code, out, err };
}

const SMALL = ['--connections', '40', '--rate', '200', '--seconds', '0.4', '--warm-up', '0', '--verify'];

describe('halley bench', () => {
  it('starts a server, delivers everything in order, and says what it cost', async () => {
    const { code, out, err } = await bench([...SMALL, '--json'], { progressColumns: 30 });
    const figures = JSON.parse(out);
    expect(figures).toMatchObject({ ok: true, failures: [], room: 'live://bench', readyCount: 40, isVerified: true });
    expect(figures.delivery).toMatchObject({
      acceptedCount: 80,
      expectedCount: 3_200,
      deliveredCount: 3_200,
      lostCount: 0,
      duplicateCount: 0,
      backwardCount: 0,
      minPerConnection: 80,
      maxPerConnection: 80,
    });
    expect(figures.delivery.p99Ms).toBeGreaterThan(0);
    expect(figures.rssBytes).toBeGreaterThan(10_000_000);
    expect(code).toBe(0);
    // The progress line overwrites itself and never wraps.
    const lines = err.split('\r').map((line) => line.replace('\u001b[K', ''));
    expect(lines.some((line) => line.startsWith('connecting 40'))).toBe(true);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(30);
    expect(lines.at(-1)).toBe('');
  });

  it('signs a token for every client where the server wants one', async () => {
    const env = { HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: 'a-secret-of-at-least-32-bytes-for-tests' };
    const { code, out, err } = await bench(SMALL, { env });
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^connections +40 ready in .*, 0 failed, 0 closed$/m);
  });

  it('refuses what it does not understand before anything is started', async () => {
    const { code, out, err } = await bench(['--rate', 'many']);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('--rate must be a number');
    expect((await bench(['--help'])).out).toContain('Usage: halley bench');
  });

  it('fails with the reason where nobody listens', async () => {
    const { code, err } = await bench(['--target', 'ws://127.0.0.1:1/sub', '--connections', '3']);
    expect(code).toBe(1);
    expect(err).toMatch(/no connection became ready: connect ECONNREFUSED/);
  });
});

describe('halley bench --target', () => {
  let halley: HalleyProcess;
  beforeAll(async () => {
    halley = await startHalley({ env: { HALLEY_HTTP_TOKEN: 'a-token-of-the-api' } });
  });
  afterAll(async () => {
    expect(await halley.stop()).toBe(0);
  });

  it('measures a running server through its API, in a room of its own', async () => {
    const api = ['--http', halley.httpUrl, '--token', 'a-token-of-the-api'];
    const { code, out, err } = await bench(['--target', halley.wsUrl, ...api, '--room', 'live://a b', ...SMALL]);
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/^connections +40 ready in .*, 0 failed, 0 closed$/m);
    expect(out).toMatch(/^published +80 of 80 messages to live:\/\/a b at 200\/s, 0 refused/m);
    expect(out).toMatch(/^delivered +3,200 of 3,200 .*, 0 lost$/m);
    expect(out).toMatch(/^order +0 duplicates, 0 out of order, checked on every connection$/m);
    expect(out).toMatch(/^server CPU +not known/m);
  });

  it('does not take silence for success: with a wrong token every message is refused', async () => {
    const { code, err } = await bench(['--target', halley.wsUrl, '--http', halley.httpUrl, '--token', 'no', ...SMALL]);
    expect(code).toBe(1);
    expect(err).toContain('nothing was delivered');
    expect(err).toContain('80 of 80 messages refused');
  });
});
