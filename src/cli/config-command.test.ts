import { describe, expect, it } from 'vitest';
import { runConfigCommand } from './config-command.js';

const SECRET = 's3cret'.repeat(8);

/** Run `halley config <argv>` and keep what it says. */
function run(argv: string[], env: Record<string, string> = {}, files: Record<string, string> = {}) {
  let out = '';
  let err = '';
  const exitCode = runConfigCommand(argv, env, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    readFile: (path) => {
      if (files[path] === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      return files[path];
    },
  });
  return { exitCode, out, err };
}

describe('halley config check', () => {
  it('says ok for a sound configuration', () => {
    expect(run(['check'])).toEqual({ exitCode: 0, out: 'ok\n', err: '' });
    expect(run(['check', '--config', 'a.toml'], {}, { 'a.toml': 'ws_port = 1' }).exitCode).toBe(0);
  });

  it('says every problem, one line each, and exits 1', () => {
    const { exitCode, out, err } = run(['check', '--host=0.0.0.0', '--config', 'gone.toml', '--wsport', '1']);
    expect([exitCode, out]).toEqual([1, '']);
    expect(err.trimEnd().split('\n')).toEqual([
      expect.stringContaining('the file cannot be read, ENOENT'),
      expect.stringContaining('nearest is --ws-port'),
    ]);
  });

  it('answers in JSON when asked', () => {
    expect(JSON.parse(run(['check', '--json']).out)).toEqual({ ok: true, problems: [] });
    const { exitCode, out, err } = run(['check', '--json', '--buckets', '-1']);
    expect([exitCode, err]).toEqual([1, '']);
    expect(JSON.parse(out)).toEqual({
      ok: false,
      problems: [
        {
          code: 'BAD_VALUE',
          path: 'buckets',
          origin: { source: 'flag', name: '--buckets' },
          message: 'buckets must be an integer of 0 to 31 (from flag --buckets): buckets=-1',
        },
      ],
    });
  });
});

describe('halley config show', () => {
  it('prints the effective configuration as a file that can be loaded again', () => {
    const shown = run(['show', '--ws-port=0'], { HALLEY_FANOUT_MAX_DELAY_MS: '5' });
    expect(shown.exitCode).toBe(0);
    const again = run(['show', '--config', 'shown.toml'], {}, { 'shown.toml': shown.out });
    expect(again.out).toBe(shown.out);
    expect(again.out).toContain('[fanout]\nbatch_max_messages = 256');
    expect(again.out).toContain('max_delay_ms = 5\n');
  });

  it('prints problems instead of a configuration that cannot be used', () => {
    for (const argv of [
      ['show', '--host', '0.0.0.0'],
      ['show', '--host', '0.0.0.0', '--json'],
    ]) {
      const { exitCode, out, err } = run(argv);
      expect(exitCode).toBe(1);
      expect(`${out}${err}`).toContain('http.token must be set');
      expect(out).not.toContain('ws_port = ');
      expect(out).not.toContain('"config"');
    }
  });

  it('prints nested values as JSON when asked', () => {
    const shown = JSON.parse(run(['show', '--json'], { HALLEY_HTTP_TOKEN: SECRET }).out) as Record<string, unknown>;
    expect(shown).toMatchObject({
      ok: true,
      config: { ws_port: 3102, http: { token: '[redacted]', max_batch: 1000 } },
    });
  });
});

describe('halley config explain', () => {
  it('tabulates value, origin and meaning of every option', () => {
    const { exitCode, out } = run(['explain', '--buckets=2'], { HALLEY_FANOUT_MAX_DELAY_MS: '5' });
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^buckets +2 +flag --buckets +Worker threads/m);
    expect(out).toMatch(/^fanout\.max_delay_ms +5 +env HALLEY_FANOUT_MAX_DELAY_MS +Longest wait/m);
    expect(out).toMatch(/^ws_port +3102 +default +Port/m);
  });

  it('explains one option with its default, range and other names', () => {
    const { exitCode, out } = run(['explain', 'fanout.max_delay_ms'], { HALLEY_FANOUT_MAX_DELAY_MS: '5' });
    expect(exitCode).toBe(0);
    for (const part of [
      '5',
      'env HALLEY_FANOUT_MAX_DELAY_MS',
      '60',
      'an integer of 0 to 10000',
      'none',
      'Longest wait',
    ]) {
      expect(out).toContain(part);
    }
    expect(out).not.toContain('ws_port');
  });

  it('explains what it can of a configuration that cannot be used, and says what is wrong with it', () => {
    const { exitCode, out, err } = run(['explain', 'host', '--host', '0.0.0.0']);
    expect(exitCode).toBe(1);
    expect(out).toContain('flag --host');
    expect(err).toContain('auth.mode must be jwt');
  });

  it('answers in JSON when asked', () => {
    const { out } = run(['explain', 'host', '--json']);
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      options: [{ path: 'host', value: '127.0.0.1', env: 'HALLEY_HOST' }],
    });
  });

  it('names the nearest option for one there is not', () => {
    const { exitCode, err } = run(['explain', 'fanout.max_delay']);
    expect(exitCode).toBe(2);
    expect(err).toContain('the nearest is fanout.max_delay_ms: option=fanout.max_delay');
  });
});

describe('halley config', () => {
  it('shows a secret in no output', () => {
    const env = { HALLEY_HTTP_TOKEN: SECRET, HALLEY_AUTH_JWT_SECRET: SECRET };
    for (const command of ['check', 'show', 'explain']) {
      for (const rest of [[], ['--json'], ['--host', '0.0.0.0'], ['--host', '0.0.0.0', '--json']]) {
        const { out, err } = run([command, ...rest], env);
        expect([command, ...rest, `${out}${err}`.includes('s3cret')]).toEqual([command, ...rest, false]);
        expect(out + err).not.toBe('');
      }
    }
    expect(run(['explain', 'http.token'], env).out).toContain('[redacted]');
  });

  it('shows an URL of Redis without its login, whatever stands in the login', () => {
    for (const redis of [
      'redis://app:s3cret@h:1/2',
      'redis://:s3cret@x@h',
      'redis://u:/s3cret@h',
      'redis//u:s3cret@h',
      's3cret@',
    ]) {
      for (const command of ['check', 'show', 'explain']) {
        for (const rest of [[], ['--json'], ['--host', '0.0.0.0']]) {
          const { out, err } = run([command, ...rest], { HALLEY_REDIS: redis });
          expect([command, ...rest, `${out}${err}`.includes('s3cret')]).toEqual([command, ...rest, false]);
        }
      }
    }
    expect(run(['explain', 'redis'], { HALLEY_REDIS: 'redis://app:s3cret@h:1/2' }).out).toContain('redis://***@h:1/2');
    expect(run(['show'], { HALLEY_REDIS: 'redis://h:1/2' }).out).toContain('redis = "redis://h:1/2"');
  });

  it('explains itself for --help, flags included', () => {
    const { exitCode, out } = run(['--help']);
    expect(exitCode).toBe(0);
    expect(out).toContain('--ws-port <int>');
  });

  it('exits 2 with the usage for a command line it does not understand', () => {
    const cases: [argv: string[], says: string][] = [
      [[], 'expected one of check, show, explain'],
      [['chekc'], 'the nearest is check: command=chekc'],
      [['check', 'host'], 'one argument too many: argument=host'],
      [['explain', 'host', 'ws_port'], 'argument=ws_port'],
      [['check', '--host'], 'the flag needs a value: flag=--host'],
      [['check', '--host', '--json'], 'the flag needs a value: flag=--host'],
      [['check', '--host', 'a', '--host=b'], 'the flag is given twice: flag=--host'],
    ];
    for (const [argv, says] of cases) {
      const { exitCode, out, err } = run(argv);
      expect([argv, exitCode, out]).toEqual([argv, 2, '']);
      expect(err).toContain(says);
      expect(err).toContain('Usage: halley config');
    }
  });

  it('names the nearest flag for one there is not, with or without a value', () => {
    for (const argv of [
      ['check', '--prot'],
      ['check', '--wsport=1'],
      ['check', '--wsport', '1'],
    ]) {
      const { exitCode, err } = run(argv);
      expect([argv, exitCode]).toEqual([argv, 1]);
      expect(err).toMatch(/^no such option, the nearest is --/);
    }
  });
});
