import { describe, expect, it } from 'vitest';
import { HalleyError } from '../errors/index.js';
import { apiTargetOf, OperatorFlags } from './operator-flags.js';

function targetOf(argv: readonly string[], env: Readonly<Record<string, string>> = {}, file = '') {
  return apiTargetOf(new OperatorFlags(argv, {}), env, () => file);
}

function problemOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof HalleyError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'none';
}

describe('which API is meant', () => {
  it.each([
    [[], {}, '', 'http://127.0.0.1:3111'],
    [[], { HALLEY_HTTP_PORT: '4000' }, '', 'http://127.0.0.1:4000'],
    [[], { HALLEY_HOST: '::1' }, '', 'http://[::1]:3111'],
    [['--config', 'x.toml'], {}, 'http_port = 4001', 'http://127.0.0.1:4001'],
    [['--config', 'x.toml'], { HALLEY_HTTP_PORT: '4002' }, 'http_port = 4001', 'http://127.0.0.1:4002'],
    [['--url', 'http://node-1:81/'], { HALLEY_HTTP_PORT: '4002' }, '', 'http://node-1:81'],
    [['--url', 'https://example.org/api//'], {}, '', 'https://example.org/api'],
  ])('%j with %j and the file %j: %s', (argv, env, file, url) => {
    expect(targetOf(argv, env, file).url).toBe(url);
  });

  it.each([
    ['0.0.0.0', 'http://127.0.0.1:3111'],
    ['::', 'http://[::1]:3111'],
  ])('of a node on %s, which is no address, is asked on loopback', (host, url) => {
    const reachable = {
      HALLEY_HOST: host,
      HALLEY_HTTP_TOKEN: 'token',
      HALLEY_AUTH_MODE: 'jwt',
      HALLEY_AUTH_JWT_SECRET: 's'.repeat(32),
    };
    expect(targetOf([], reachable)).toEqual({ url, token: 'token' });
  });

  it.each([
    ['127.0.0.1:3111', 'must be an address such as'],
    ['ws://127.0.0.1:3102/sub', 'must be an address such as'],
    ['http://127.0.0.1:3111/?a=1', 'must be an address such as'],
    ['', 'must be an address such as'],
  ])('is not %s', (url, sentence) => {
    expect(problemOf(() => targetOf(['--url', url]))).toContain(sentence);
  });

  it('never has a login in its address, and the refusal does not repeat it', () => {
    const problem = problemOf(() => targetOf(['--url', 'http://me:very-secret@127.0.0.1:3111']));
    expect(problem).toContain('CLI_USAGE --url must not hold a login');
    expect(problem).not.toContain('very-secret');
  });

  it('is not known where the port is any free one, unless it is given', () => {
    expect(problemOf(() => targetOf([], { HALLEY_HTTP_PORT: '0' }))).toContain('say which one with --url');
    expect(targetOf(['--url', 'http://127.0.0.1:1'], { HALLEY_HTTP_PORT: '0' }).url).toBe('http://127.0.0.1:1');
  });
});

describe('integers', () => {
  const read = (text: string) =>
    new OperatorFlags([`--count=${text}`], { count: { type: 'string' } }).integer('count', [-5, 5]);

  it('are read within their bounds', () => {
    expect([read('-5'), read('0'), read('5')]).toEqual([-5, 0, 5]);
    expect(new OperatorFlags([], { count: { type: 'string' } }).integer('count', [1, 2])).toBeUndefined();
  });

  it.each(['6', '-6', '1.5', '1e0', ' 1', '', '0x1', '99999999999999999999'])('are not %j', (text) => {
    expect(problemOf(() => read(text))).toContain('--count must be an integer of -5 to 5');
  });
});
