import { describe, expect, it } from 'vitest';
import { BENCH_HELP, parseBenchOptions } from './bench-options.js';

describe('parseBenchOptions', () => {
  it('has defaults for everything and starts a server where none is named', () => {
    expect(parseBenchOptions([])).toEqual({
      target: undefined,
      connectionCount: 1_000,
      room: 'live://bench',
      ratePerSec: 100,
      seconds: 5,
      warmUpSeconds: 1,
      buckets: 1,
      isVerifying: false,
      asJson: false,
    });
    expect(parseBenchOptions(['--help'])).toBeUndefined();
  });

  it('reads a target with its path, its API and its token', () => {
    const argv = ['--target', 'ws://[::1]:3102/sub?a=1', '--http', 'http://api:8080', '--token', 's', '--pid', '7'];
    expect(parseBenchOptions(argv)?.target).toEqual({
      host: '::1',
      port: 3102,
      path: '/sub?a=1',
      httpHost: 'api',
      httpPort: 8080,
      token: 's',
      pid: 7,
    });
    const short = parseBenchOptions(['--target', 'ws://comet/sub'])?.target;
    expect(short).toMatchObject({ port: 80, httpHost: 'comet', httpPort: 3111, token: '', pid: undefined });
  });

  it.each([
    [['--conections', '5'], /conections/],
    [['--connections', '0'], /--connections must be a number of 1 to 1000000: connections="0"/],
    [['--connections', '1.5'], /--connections must be a whole number/],
    [['--rate', 'fast'], /--rate must be a number/],
    [['--seconds', ''], /--seconds must be a number/],
    [['--room', 'lobby'], /--room must be type:\/\/id/],
    [['--target', 'http://a'], /--target must be a ws:\/\/ address/],
    [['--target', 'nowhere'], /--target must be a ws:\/\/ address/],
    [['--token', 's'], /--token needs --target/],
    [['--target', 'ws://a', '--buckets', '2'], /not with --target/],
    [['--connections'], /connections/],
  ])('refuses %j', (argv, message) => {
    expect(() => parseBenchOptions(argv)).toThrow(message);
    expect(() => parseBenchOptions(argv)).toThrow(expect.objectContaining({ code: 'BENCH_USAGE' }));
  });

  it('explains every flag it takes', () => {
    const known = ['target', 'http', 'token', 'pid', 'connections', 'room', 'rate', 'seconds', 'warm-up', 'buckets'];
    for (const flag of [...known, 'verify', 'json']) expect(BENCH_HELP).toContain(`--${flag} `);
  });
});
