import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type ConfigSources, checkConfig, inspectConfig, isLoopback, loadConfig, problemLine } from './index.js';

const SECRETS = { HALLEY_AUTH_JWT_SECRET: 'x'.repeat(32), HALLEY_HTTP_TOKEN: 'y'.repeat(16) };

function problemsOf(env: ConfigSources['env']): string[] {
  return inspectConfig({ argvFlags: {}, env, readFile: () => '' }).problems.map(problemLine);
}

describe('rules between options', () => {
  it('hold for the defaults', () => {
    expect(checkConfig(loadConfig({ argvFlags: {}, env: {}, readFile: () => '' }).config)).toEqual([]);
  });

  it('refuse a host that others can reach without authentication and without a token, naming both options', () => {
    expect(problemsOf({ HALLEY_HOST: '0.0.0.0' })).toEqual([
      'auth.mode must be jwt where host is not loopback (host="0.0.0.0") (from default): auth.mode="open"',
      'http.token must be set where host is not loopback (host="0.0.0.0") (from default): http.token=""',
    ]);
    expect(problemsOf({ HALLEY_HOST: '0.0.0.0', HALLEY_AUTH_MODE: 'jwt', ...SECRETS })).toEqual([]);
  });

  it('know loopback by its address, not by how a name begins', () => {
    for (const host of ['127.0.0.1', '127.255.0.3', '::1', 'localhost', 'LocalHost']) {
      expect([host, isLoopback(host)]).toEqual([host, true]);
    }
    for (const host of [
      '0.0.0.0',
      '::',
      '10.0.0.1',
      '127.example.com',
      '127.0.0.1.nip.io',
      '128.0.0.1',
      'localhost.example.com',
    ]) {
      expect([host, isLoopback(host)]).toEqual([host, false]);
    }
  });

  it('refuse jwt with a secret under 32 bytes, and count bytes', () => {
    expect(problemsOf({ HALLEY_AUTH_MODE: 'jwt' })[0]).toContain('at least 32 bytes where auth.mode is jwt, it has 0');
    expect(problemsOf({ HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: 'x'.repeat(31) })[0]).toContain('it has 31');
    expect(problemsOf({ HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: 'x'.repeat(32) })).toEqual([]);
  });

  it('want a burst of bytes that lets the largest packet pass, where bytes are limited', () => {
    const tight = { HALLEY_LIMITS_BYTES_PER_S: '1000', HALLEY_LIMITS_BYTES_BURST: '65551' };
    expect(problemsOf(tight)[0]).toContain('limits.bytes_burst must be at least');
    expect(problemsOf({ ...tight, HALLEY_LIMITS_BYTES_BURST: '65552' })).toEqual([]);
    expect(problemsOf({ HALLEY_LIMITS_BYTES_BURST: '16' })).toEqual([]);
  });

  it('refuse a role of its own without Redis, where nobody else would be', () => {
    for (const role of ['comet', 'logic', 'job']) {
      expect(problemsOf({ HALLEY_ROLE: role })).toEqual([
        `role must be all where redis is empty (from env HALLEY_ROLE): role="${role}"`,
      ]);
      expect(problemsOf({ HALLEY_ROLE: role, HALLEY_REDIS: 'redis://127.0.0.1' })).toEqual([]);
    }
    expect(problemsOf({ HALLEY_ROLE: 'all' })).toEqual([]);
  });

  it('refuse an upstream that could send nothing: no Redis, no URL, a short secret, an event nobody knows', () => {
    const webhook = { HALLEY_UPSTREAM_SINK: 'webhook', HALLEY_UPSTREAM_SECRET: 's'.repeat(32) };
    expect(problemsOf({ HALLEY_UPSTREAM_SINK: 'stream' })[0]).toContain('must be webhook or none where redis is empty');
    expect(problemsOf({ HALLEY_UPSTREAM_SINK: 'stream', HALLEY_REDIS: 'redis://127.0.0.1' })).toEqual([]);
    for (const url of ['', 'ftp://example.com/', 'example.com']) {
      expect(problemsOf({ ...webhook, HALLEY_UPSTREAM_URL: url })[0]).toContain('must be an http:// or https:// URL');
    }
    const url = { HALLEY_UPSTREAM_URL: 'https://example.com/hook' };
    expect(problemsOf({ ...webhook, ...url })).toEqual([]);
    expect(problemsOf({ ...webhook, ...url, HALLEY_UPSTREAM_SECRET: 's'.repeat(31) })[0]).toContain('it has 31');
    expect(problemsOf({ HALLEY_UPSTREAM_EVENTS: 'connect,conect' })[0]).toContain('upstream.events must name events');
    expect(problemsOf({ HALLEY_UPSTREAM_RETRY_MAX_MS: '100' })[0]).toContain('at most upstream.retry_max_ms, 100');
  });

  it('refuse two services on one port, unless any free port will do', () => {
    expect(problemsOf({ HALLEY_HTTP_PORT: '3102' })).toEqual([
      'http_port must differ from ws_port (ws_port=3102) (from env HALLEY_HTTP_PORT): http_port=3102',
    ]);
    for (const port of ['3102', '3111']) {
      expect(problemsOf({ HALLEY_TCP_PORT: port })).toEqual([
        `tcp_port must differ from ws_port, 3102, and http_port, 3111 (from env HALLEY_TCP_PORT): tcp_port=${port}`,
      ]);
    }
    expect(problemsOf({ HALLEY_IDS_GRPC_PORT: '3101' })[0]).toContain('and tcp_port, 3101');
    expect(problemsOf({ HALLEY_HTTP_PORT: '0', HALLEY_WS_PORT: '0', HALLEY_TCP_PORT: '0' })).toEqual([]);
  });

  it('let nothing speak TLS without a certificate and its key', () => {
    const cert = { HALLEY_TLS_CERT_FILE: 'a.crt', HALLEY_TLS_KEY_FILE: 'a.key' };
    const all = { HALLEY_TLS_PLAIN: 'off', HALLEY_TLS_HTTP: 'on', HALLEY_TLS_SNI: 'a.example=a.crt:a.key' };
    expect(problemsOf({ ...cert, ...all })).toEqual([]);
    expect(problemsOf(all).map((line) => line.split(' (from', 1)[0])).toEqual([
      'tls.plain must be on where tls.cert_file is empty',
      'tls.http must be off where tls.cert_file is empty',
      'tls.sni must be empty where tls.cert_file is',
    ]);
    expect(problemsOf({ HALLEY_TLS_CERT_FILE: 'a.crt' })[0]).toMatch(/^tls\.key_file must be set where/);
    expect(problemsOf({ HALLEY_TLS_KEY_FILE: 'a.key' })[0]).toMatch(/^tls\.key_file must be empty where/);
    expect(problemsOf({ ...cert, HALLEY_TLS_SNI: 'a.example' })[0]).toMatch(/entry 1 is none/);
    expect(problemsOf({ ...cert, HALLEY_TLS_WS_PORT: '3111' })).toEqual([
      'tls.ws_port must differ from http_port, 3111, ws_port, 3102, and tcp_port, 3101 (from env HALLEY_TLS_WS_PORT): tls.ws_port=3111',
    ]);
    expect(problemsOf({ ...cert, HALLEY_TLS_WS_PORT: '3101' })).toHaveLength(1);
    for (const port of ['3101', '3102', '3103', '3111']) {
      expect(problemsOf({ ...cert, HALLEY_TLS_TCP_PORT: port })).toEqual([
        `tls.tcp_port must differ from http_port, 3111, ws_port, 3102, tcp_port, 3101, and tls.ws_port, 3103 (from env HALLEY_TLS_TCP_PORT): tls.tcp_port=${port}`,
      ]);
    }
    expect(problemsOf({ ...cert, HALLEY_TLS_TCP_PORT: '0', HALLEY_TLS_WS_PORT: '0' })).toEqual([]);
    for (const port of ['3103', '3104']) {
      expect(problemsOf({ ...cert, HALLEY_IDS_GRPC_PORT: port })[0]).toContain('and tls.tcp_port, 3104');
    }
    // Nothing listens there.
    expect(problemsOf({ HALLEY_TLS_WS_PORT: '3111', HALLEY_TLS_TCP_PORT: '3111' })).toEqual([]);
    expect(problemsOf({ HALLEY_IDS_GRPC_PORT: '3104' })).toEqual([]);
  });

  it('hold at their bound and are broken by the next value', () => {
    const cases: [name: string, atBound: Record<string, string>, beyond: Record<string, string>][] = [
      ['fanout.duty_target', { HALLEY_FANOUT_DUTY_TARGET: '0.5' }, { HALLEY_FANOUT_DUTY_TARGET: '0.51' }],
      ['shutdown.drain_ms', { HALLEY_SHUTDOWN_DRAIN_MS: '5000' }, { HALLEY_SHUTDOWN_DRAIN_MS: '5001' }],
      ['node.backoff_base_s', { HALLEY_NODE_BACKOFF_BASE_S: '300' }, { HALLEY_NODE_BACKOFF_BASE_S: '301' }],
      [
        'ring.max_record_bytes',
        { HALLEY_RING_MAX_RECORD_BYTES: '4194304', HALLEY_RING_BUCKET_BYTES: '16777216' },
        { HALLEY_RING_MAX_RECORD_BYTES: '4194305', HALLEY_RING_BUCKET_BYTES: '33554432' },
      ],
      [
        'ring.max_record_bytes',
        { HALLEY_RING_MAX_RECORD_BYTES: '2097152' },
        { HALLEY_RING_MAX_RECORD_BYTES: '2097153' },
      ],
      [
        'limits.push_body_bytes',
        { HALLEY_LIMITS_PUSH_BODY_BYTES: String(2_097_152 - 1024) },
        { HALLEY_LIMITS_PUSH_BODY_BYTES: String(2_097_152 - 1023) },
      ],
    ];
    for (const [name, atBound, beyond] of cases) {
      expect([name, problemsOf(atBound)]).toEqual([name, []]);
      const broken = problemsOf(beyond);
      expect([name, broken.length]).toEqual([name, 1]);
      expect(broken[0]).toMatch(new RegExp(`^${name.replace('.', '\\.')} must be at most .*: ${name}=[0-9.]+$`));
    }
  });

  it('say nothing about an option whose own value was refused', () => {
    const problems = problemsOf({ HALLEY_SHUTDOWN_DRAIN_MS: '20000', HALLEY_SHUTDOWN_TIMEOUT_MS: 'soon' });
    expect(problems.length).toBe(1);
    expect(problems[0]).toContain('shutdown.timeout_ms must be an integer');
  });
});

describe('the example files', () => {
  const load = (name: string, env: ConfigSources['env']) =>
    inspectConfig({
      argvFlags: { config: name },
      env,
      readFile: (path) => readFileSync(new URL(`../../config/${path}`, import.meta.url), 'utf8'),
    });

  it.each(['production.toml', 'cluster.toml'])('%s is sound with the two secrets in the environment', (name) => {
    const { problems, config } = load(name, SECRETS);
    expect(problems).toEqual([]);
    expect([config.auth.mode, isLoopback(config.host)]).toEqual(['jwt', false]);
  });

  it.each(['production.toml', 'cluster.toml'])('%s names both secrets where they are missing', (name) => {
    expect(load(name, {}).problems.map((problem) => problem.path)).toEqual(['http.token', 'auth.jwt_secret']);
  });

  it.each(['production.toml', 'cluster.toml'])('%s holds no secret', (name) => {
    const { origins } = load(name, SECRETS);
    expect([origins['http.token'].source, origins['auth.jwt_secret'].source]).toEqual(['env', 'env']);
  });
});
