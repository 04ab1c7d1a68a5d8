/**
 * The command line as a person meets it: every mistake ends at once, with one sentence that names what to change.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHalley } from '../kit/index.js';

const EXIT = { OK: 0, FAILED: 1, USAGE: 2 } as const;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-cli-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

describe('halley', () => {
  it('--help lists every flag and says where the other options are', async () => {
    const { code, stdout, stderr } = await runHalley(['--help']);
    expect([code, stderr]).toEqual([EXIT.OK, '']);
    for (const flag of [
      '--config',
      '--server-id',
      '--buckets',
      '--host',
      '--ws-port',
      '--tcp-port',
      '--http-port',
      '--data-dir',
      '--app',
    ]) {
      expect(stdout).toContain(flag);
    }
    expect(stdout).toContain('halley config explain');
  });

  it('--version is the version of the package', async () => {
    const { default: manifest } = await import('../../package.json', { with: { type: 'json' } });
    expect(await runHalley(['--version'])).toEqual({ code: EXIT.OK, stdout: `${manifest.version}\n`, stderr: '' });
  });

  it.each([
    ['an unknown flag', ['--ws-prot', '1'], ["unknown option '--ws-prot'", 'Did you mean --ws-port?']],
    ['a flag without its value', ['--ws-port'], ["option '--ws-port <int>' argument missing"]],
    ['a word that is no command', ['conifg'], ['too many arguments', '--help']],
    ['a wrong word behind config', ['config', 'shwo'], ['the nearest is show']],
  ])('ends with 2 after %s and suggests the right one', async (_, args, sentences) => {
    const { code, stdout, stderr } = await runHalley(args);
    expect([code, stdout]).toEqual([EXIT.USAGE, '']);
    for (const sentence of sentences) expect(stderr).toContain(sentence);
  });

  it('names every bad value with its range and where it came from, all at once', async () => {
    const { code, stderr } = await runHalley(['--buckets=-1', '--ws-port=abc'], { HALLEY_HTTP_PORT: '99999' });
    expect(code).toBe(EXIT.FAILED);
    expect(stderr).toContain('the configuration has 3 problems');
    expect(stderr).toContain('buckets must be an integer of 0 to 31 (from flag --buckets): buckets=-1');
    expect(stderr).toContain('ws_port must be an integer of 0 to 65535 (from flag --ws-port): ws_port="abc"');
    expect(stderr).toContain('http_port must be an integer of 0 to 65535 (from env HALLEY_HTTP_PORT)');
  });

  it('refuses a port for everyone without authentication, naming both options', async () => {
    const open = await runHalley(['--host', '0.0.0.0']);
    expect(open.code).toBe(EXIT.FAILED);
    expect(open.stderr).toContain('auth.mode must be jwt where host is not loopback (host="0.0.0.0")');
    expect(open.stderr).toContain('http.token must be set where host is not loopback (host="0.0.0.0")');
    const withoutToken = await runHalley(['--host', '0.0.0.0'], {
      HALLEY_AUTH_MODE: 'jwt',
      HALLEY_AUTH_JWT_SECRET: 's'.repeat(32),
    });
    expect(withoutToken.code).toBe(EXIT.FAILED);
    expect(withoutToken.stderr).not.toContain('auth.mode');
    expect(withoutToken.stderr).toContain('http.token must be set');
    expect(withoutToken.stderr).not.toContain('ssss');
  });

  it('refuses an unknown key of a file or the environment and names the nearest', async () => {
    const path = await file('typo.toml', '[slow]\nmax_backpresure_bytes = 65536\n');
    const fromFile = await runHalley(['--config', path]);
    expect(fromFile.code).toBe(EXIT.FAILED);
    expect(fromFile.stderr).toContain(`no such option, the nearest is slow.max_backpressure_bytes (from file ${path})`);
    const fromEnv = await runHalley([], { HALLEY_BUCKET: '2' });
    expect(fromEnv.code).toBe(EXIT.FAILED);
    expect(fromEnv.stderr).toMatch(/no such option, the nearest is .*HALLEY_BUCKETS?/);
    const missing = await runHalley(['--config', join(directory, 'none.toml')]);
    expect(missing.code).toBe(EXIT.FAILED);
    expect(missing.stderr).toContain('the file cannot be read');
  });
});

describe('halley config', () => {
  it('check says ok to a sound configuration, and every problem of another', async () => {
    const sound = await file('sound.toml', 'buckets = 2\n[slow]\nclose_after_ms = 1000\n');
    expect(await runHalley(['config', 'check', '--config', sound])).toEqual({ code: 0, stdout: 'ok\n', stderr: '' });
    const bad = await file('bad.toml', 'buckets = 99\nws_port = "x"\n');
    const { code, stdout, stderr } = await runHalley(['config', 'check', '--config', bad]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr.trim().split('\n').length).toBe(2);
  });

  it('show prints what would run, without secrets', async () => {
    const { code, stdout } = await runHalley(['config', 'show', '--ws-port', '4000'], {
      HALLEY_HTTP_TOKEN: 'very-secret-token',
    });
    expect(code).toBe(0);
    expect(stdout).toContain('ws_port = 4000');
    expect(stdout).not.toContain('very-secret-token');
  });

  it('explain tells value, origin and meaning', async () => {
    const path = await file('explain.toml', '[slow]\nclose_after_ms = 1234\n');
    const { code, stdout } = await runHalley(['config', 'explain', 'slow.close_after_ms', '--config', path]);
    expect(code).toBe(0);
    for (const fact of ['1234', path, '30000', 'HALLEY_SLOW_CLOSE_AFTER_MS']) expect(stdout).toContain(fact);
  });
});
