import { describe, expect, it } from 'vitest';
import { HalleyError } from '../errors/index.js';
import { type Config, type ConfigSources, inspectConfig, loadConfig, problemLine } from './index.js';

/** Sources from a TOML text (undefined: no file), env and flags. */
function sources(toml?: string, env: ConfigSources['env'] = {}, argvFlags: Record<string, string> = {}): ConfigSources {
  const flags = toml === undefined ? argvFlags : { config: 'h.toml', ...argvFlags };
  return { argvFlags: flags, env, readFile: () => toml ?? '' };
}

function problemsOf(toml?: string, env: ConfigSources['env'] = {}, argvFlags: Record<string, string> = {}): string[] {
  return inspectConfig(sources(toml, env, argvFlags)).problems.map(problemLine);
}

describe('loading', () => {
  it('gives the defaults where no source says anything, and asks for no file', () => {
    const readFile = () => {
      throw new Error('read');
    };
    const { config, origins } = loadConfig({ argvFlags: {}, env: { PATH: '/bin' }, readFile });
    expect(config.fanout).toEqual({
      batch_max_messages: 256,
      profile: 'balanced',
      batch_max_bytes: 65_536,
      max_delay_ms: 60,
      duty_threshold: 0.5,
      duty_target: 0.12,
    });
    expect([config.host, config.ws_port, config.auth.mode]).toEqual(['127.0.0.1', 3102, 'open']);
    expect(origins['fanout.max_delay_ms']).toEqual({ source: 'default', name: '' });
  });

  it('lets the file win over defaults, env over the file, and flags over env, and remembers who won', () => {
    const toml = 'ws_port = 1\nhttp_port = 2\nbuckets = 3\n[queue]\nmax_messages = 4';
    const { config, origins } = loadConfig(
      sources(toml, { HALLEY_HTTP_PORT: '5', HALLEY_BUCKETS: '6' }, { buckets: '7' }),
    );
    expect([config.queue.max_messages, config.ws_port, config.http_port, config.buckets]).toEqual([4, 1, 5, 7]);
    expect([origins.ws_port, origins.http_port, origins.buckets, origins.data_dir]).toEqual([
      { source: 'file', name: 'h.toml' },
      { source: 'env', name: 'HALLEY_HTTP_PORT' },
      { source: 'flag', name: '--buckets' },
      { source: 'default', name: '' },
    ]);
  });

  it('takes the file from HALLEY_CONFIG, and rather from --config', () => {
    const asked: string[] = [];
    const readFile = (path: string) => {
      asked.push(path);
      return '';
    };
    loadConfig({ argvFlags: {}, env: { HALLEY_CONFIG: 'env.toml' }, readFile });
    loadConfig({ argvFlags: { config: 'flag.toml' }, env: { HALLEY_CONFIG: 'env.toml' }, readFile });
    expect(asked).toEqual(['env.toml', 'flag.toml']);
  });

  it('leaves other variables alone, and the switch of our test runner', () => {
    expect(
      problemsOf(undefined, { HOST: '0.0.0.0', halley_host: 'x', HALLEY_LONG: '1', HALLEY_HOST: undefined }),
    ).toEqual([]);
  });

  it('gives plain data that is frozen to the bottom and survives the way to a worker', () => {
    const { config, origins } = loadConfig(sources('[node]\naddrs = ["a", "b"]'));
    const clone: Config = structuredClone(config);
    expect(clone).toEqual(config);
    expect(() => Object.assign(config, { ws_port: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.fanout, { max_delay_ms: 1 })).toThrow(TypeError);
    expect(() => (config.node.addrs as string[]).push('c')).toThrow(TypeError);
    expect(() => Object.assign(origins, { ws_port: 1 })).toThrow(TypeError);
  });

  it('infers the type of each value from its row', () => {
    const { config } = loadConfig(sources());
    const delayMs: number = config.fanout.max_delay_ms;
    const mode: 'open' | 'jwt' = config.auth.mode;
    const addrs: readonly string[] = config.node.addrs;
    // @ts-expect-error there is no such option, and the type knows it
    const missing: unknown = config.fanout.max_delay;
    expect([delayMs, mode, addrs, missing]).toEqual([60, 'open', [], undefined]);
  });

  it('reads numbers from env and flags in decimal only', () => {
    for (const written of ['', ' 1', '1 ', '0x10', '1e3', '1_000', '1.0', '+1', 'one', '1,2', '99999999999999999999']) {
      expect([written, problemsOf(undefined, { HALLEY_WS_PORT: written }).length]).toEqual([written, 1]);
    }
    for (const written of ['', '.5', '0.5 ', 'NaN', 'Infinity', '0,5']) {
      expect([written, problemsOf(undefined, { HALLEY_FANOUT_DUTY_THRESHOLD: written }).length]).toEqual([written, 1]);
    }
    const env = { HALLEY_WS_PORT: '0080', HALLEY_FANOUT_DUTY_THRESHOLD: '5e-1' };
    expect(loadConfig(sources(undefined, env)).config).toMatchObject({ ws_port: 80, fanout: { duty_threshold: 0.5 } });
  });

  it('reads lists from env by commas, and nothing as the empty list', () => {
    const addrs = (written: string) => loadConfig(sources(undefined, { HALLEY_NODE_ADDRS: written })).config.node.addrs;
    expect([addrs('a, b'), addrs('')]).toEqual([['a', 'b'], []]);
    expect(problemsOf(undefined, { HALLEY_NODE_ADDRS: 'a,,b' })[0]).toMatch(
      /non-empty texts .*: node\.addrs=\["a","","b"\]$/,
    );
  });
});

describe('refusing', () => {
  it('states expectation, origin and value, in this order, and changes no value to fit', () => {
    expect(problemsOf('[fanout]\nmax_delay_ms = -1')).toEqual([
      'fanout.max_delay_ms must be an integer of 0 to 10000 (from file h.toml): fanout.max_delay_ms=-1',
    ]);
    expect(problemsOf(undefined, {}, { buckets: '32' })).toEqual([
      'buckets must be an integer of 0 to 31 (from flag --buckets): buckets=32',
    ]);
  });

  it('takes no value of another kind, however close', () => {
    for (const toml of [
      'ws_port = "3102"',
      'ws_port = true',
      'ws_port = [3102]',
      'ws_port = 3102.5',
      'ws_port = inf',
      'ws_port = 1152921504606846976',
      'host = 1',
      'host = { a = 1 }',
      'data_dir = 1979-05-27',
      '[node]\naddrs = "a"',
      '[node]\naddrs = [1]',
      '[auth]\nmode = "JWT"',
      '[ring]\ncontrol_bytes = 16777215',
    ]) {
      expect([toml, problemsOf(toml).length]).toEqual([toml, 1]);
    }
  });

  it('names the nearest option for one it does not know, in file, env and flags', () => {
    expect(problemsOf('[fanout]\nmax_delay = 1')).toEqual([
      'no such option, the nearest is fanout.max_delay_ms (from file h.toml): option="fanout.max_delay"',
    ]);
    expect(problemsOf('[fanut]\nmax_delay_ms = 1')[0]).toContain('nearest is fanout.max_delay_ms');
    expect(problemsOf('[fanout]\nheap_mb = 100')[0]).toContain('nearest is bucket.heap_mb');
    expect(problemsOf('max_delay_ms = 1')[0]).toContain('nearest is fanout.max_delay_ms');
    expect(problemsOf('[hots]')[0]).toContain('nearest is host (');
    expect(problemsOf(undefined, { HALLEY_WSPORT: '1' })).toEqual([
      'no such option, the nearest is HALLEY_WS_PORT (from env HALLEY_WSPORT): env="HALLEY_WSPORT"',
    ]);
    expect(problemsOf(undefined, {}, { wsport: '1' })).toEqual([
      'no such option, the nearest is --ws-port (from flag --wsport): flag="--wsport"',
    ]);
  });

  it('tells where else an option without a flag can be set', () => {
    expect(problemsOf(undefined, {}, { 'fanout-max-delay-ms': '1' })[0]).toContain(
      'fanout.max_delay_ms, which has no flag: use the file or HALLEY_FANOUT_MAX_DELAY_MS',
    );
  });

  it('tells what to do about the variables that Kubernetes sets for a service called halley', () => {
    for (const name of ['HALLEY_SERVICE_HOST', 'HALLEY_PORT', 'HALLEY_PORT_3102_TCP_ADDR']) {
      expect(problemsOf(undefined, { [name]: 'tcp://10.0.0.1:3102' })[0]).toContain('enableServiceLinks: false');
    }
    expect(problemsOf(undefined, { HALLEY_HOSTT: 'x' })[0]).not.toContain('enableServiceLinks');
  });

  it('reaches no option by a dotted key in quotes or by a name of the language', () => {
    expect(problemsOf('"fanout.max_delay_ms" = 1').length).toBe(1);
    expect(problemsOf('[node]\n"a.b" = 1').length).toBe(1);
    for (const key of ['__proto__', 'constructor', 'toString']) {
      expect([key, problemsOf(`${key} = 1`).length]).toEqual([key, 1]);
      expect([key, problemsOf(`[${key}]\nx = 1`).length]).toEqual([key, 1]);
      expect([key, problemsOf(`[fanout]\n${key} = 1`).length]).toEqual([key, 1]);
      expect([key, problemsOf(undefined, {}, { [key]: '1' }).length]).toEqual([key, 1]);
    }
  });

  it('says how to write a group that was given a value', () => {
    expect(problemsOf('fanout = 3')[0]).toBe(
      'fanout is a group of options, write [fanout] and its options below (from file h.toml): fanout=<number>',
    );
  });

  it('finds all problems of all sources in one pass, and rules between options too', () => {
    const problems = problemsOf(
      'buckts = 1\nbuckets = 99\n[shutdown]\ndrain_ms = 20000',
      { HALLEY_RING_STALL_MS: 'x', HALLEY_NOPE: '1' },
      { nope: '1', 'http-port': '3102' },
    );
    expect(problems.length).toBe(7);
    let thrown: unknown;
    try {
      loadConfig(sources('buckts = 1\nbuckets = 99'));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(HalleyError);
    expect((thrown as HalleyError).code).toBe('CONFIG_INVALID');
    expect((thrown as HalleyError).message).toMatch(
      /^the configuration has 2 problems\n {2}no such option.*\n {2}buckets must be .*=99$/,
    );
  });

  it('refuses a wrong value in the file even where env overrides it', () => {
    expect(problemsOf('ws_port = "x"', { HALLEY_WS_PORT: '1' }).length).toBe(1);
  });

  it('says which file cannot be read, and why, beside the other problems', () => {
    const readFile = () => {
      throw new Error('ENOENT: no such file');
    };
    // The token may well stand in the file nobody could read, so no rule is held against its absence.
    const flags = { config: 'gone.toml', host: '0.0.0.0', hots: '1' };
    expect(inspectConfig({ argvFlags: flags, env: {}, readFile }).problems.map(problemLine)).toEqual([
      'the file cannot be read, ENOENT: no such file (from file gone.toml): config="gone.toml"',
      'no such option, the nearest is --host (from flag --hots): flag="--hots"',
    ]);
  });

  it('says where the file is not TOML without quoting the line', () => {
    const [problem] = problemsOf('host = "a"\n[http]\ntoken = s3cret');
    expect(problem).toMatch(/^the file is not TOML, line 3, column \d+, invalid value .*: config="h\.toml"$/);
    expect(problem).not.toContain('s3cret');
  });
});

describe('secrets', () => {
  const secret = 's3cret-s3cret';

  it('appear in no problem, whatever is wrong with them', () => {
    const everything = [
      ...problemsOf(`[auth]\nmode = "jwt"\njwt_secret = "${secret}"`),
      ...problemsOf(`[http]\ntoken = "${secret} with blanks"`),
      ...problemsOf(`[http]\ntoken = ["${secret}"]`),
      ...problemsOf(`[http]\ntokn = "${secret}"`),
      ...problemsOf(`http = "${secret}"`),
      ...problemsOf(undefined, { HALLEY_HTTP_TOKN: secret }),
      ...problemsOf(undefined, { HALLEY_HTTP_TOKEN: `${secret}\n` }),
      ...problemsOf(undefined, {}, { 'http-token': secret }),
    ];
    expect(everything.length).toBe(8);
    expect(everything.join('\n')).not.toContain('s3cret');
    expect(everything[0]).toMatch(
      /at least 32 bytes where auth\.mode is jwt, it has 13 .*: auth\.jwt_secret=\[redacted\]$/,
    );
  });
});

describe('fanout.profile', () => {
  const load = (env: Record<string, string>) => loadConfig({ argvFlags: {}, env, readFile: () => '' });

  it('puts its values in place of the defaults, and says so', () => {
    const { config, origins } = load({ HALLEY_FANOUT_PROFILE: 'throughput' });
    expect([config.fanout.max_delay_ms, config.fanout.duty_target]).toEqual([240, 0.02]);
    expect(origins['fanout.max_delay_ms']).toEqual({ source: 'profile', name: 'throughput' });
    expect(load({}).config.fanout.max_delay_ms).toBe(60);
  });

  it('gives way to what is configured', () => {
    const { config } = load({ HALLEY_FANOUT_PROFILE: 'latency', HALLEY_FANOUT_MAX_DELAY_MS: '5' });
    expect(config.fanout.max_delay_ms).toBe(5);
  });

  it('is refused where it is none', () => {
    expect(() => load({ HALLEY_FANOUT_PROFILE: 'constructor' })).toThrow('balanced, throughput, latency');
  });
});
