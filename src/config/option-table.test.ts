import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import {
  defaultToml,
  effectiveToml,
  explainConfig,
  findOption,
  flagRows,
  helpLines,
  loadConfig,
  OPTION_ROWS,
  optionTableMarkdown,
} from './index.js';
import { expectationOf, isAllowed, tomlOf } from './option-value.js';

const noFile = () => {
  throw new Error('no file was asked for');
};

describe('the option table', () => {
  it('has every default inside its own range', () => {
    for (const row of OPTION_ROWS) expect([row.path, isAllowed(row, row.default)]).toEqual([row.path, true]);
  });

  it('has one env name and one flag per option, all distinct', () => {
    for (const names of [
      OPTION_ROWS.map((row) => row.path),
      OPTION_ROWS.map((row) => row.env),
      flagRows().map((row) => row.flag),
    ]) {
      expect(new Set(names).size).toBe(names.length);
    }
  });

  it('has names in snake case and meanings that are sentences', () => {
    for (const row of OPTION_ROWS) {
      expect(row.path).toMatch(/^([a-z]+\.)?[a-z]+(_[a-z]+)*$/);
      expect(row.doc).toMatch(/\.$/);
      expect(row.env).toBe(`HALLEY_${row.path.replace('.', '_').toUpperCase()}`);
    }
  });

  it('has the flags that every part of Halley agrees on, and no flag for a secret', () => {
    expect(flagRows().map((row) => row.flag)).toEqual([
      '--config',
      '--server-id',
      '--buckets',
      '--host',
      '--ws-port',
      '--tcp',
      '--tcp-port',
      '--http-port',
      '--role',
      '--redis',
      '--data-dir',
      '--app',
      '--fanout-profile',
    ]);
    for (const row of OPTION_ROWS) {
      if (row.kind === 'text' && row.isSecret) expect([row.flag, row.default]).toEqual([undefined, '']);
    }
  });

  it('finds an option by its path, and nothing by the path of a group', () => {
    expect(findOption('fanout.max_delay_ms')?.default).toBe(60);
    expect(findOption('fanout')).toBeUndefined();
    expect(findOption('constructor')).toBeUndefined();
  });

  it('states the bound of each kind of value', () => {
    const expectation = (path: string) => expectationOf(findOption(path)!);
    expect(expectation('buckets')).toBe('an integer of 0 to 31');
    expect(expectation('bucket.heap_mb')).toBe('0 or an integer of 64 to 65536');
    expect(expectation('ring.control_bytes')).toBe('a power of two of 65536 to 1073741824');
    expect(expectation('fanout.duty_target')).toBe('a number of 0.01 to 1');
    expect(expectation('auth.mode')).toBe('one of open, jwt');
    expect(expectation('node.addrs')).toBe('a list of at most 64 non-empty texts');
    expect(expectation('host')).toBe('a text of 1 to 255 bytes, visible ASCII only');
  });

  it('takes a value at each bound and refuses the next one', () => {
    for (const row of OPTION_ROWS) {
      if (row.kind === 'int') {
        const outside = [row.min - 1, row.max + 1].filter((value) => !(row.orZero && value === 0));
        expect([row.path, isAllowed(row, row.min), isAllowed(row, row.max)]).toEqual([row.path, true, true]);
        expect([row.path, ...outside.map((value) => isAllowed(row, value))]).toEqual([
          row.path,
          ...outside.map(() => false),
        ]);
        expect([row.path, isAllowed(row, row.min + 0.5), isAllowed(row, 0)]).toEqual([
          row.path,
          false,
          row.orZero || row.min <= 0,
        ]);
        if (row.powerOfTwo) expect(isAllowed(row, row.min + 1)).toBe(false);
      } else if (row.kind === 'number') {
        const tries = [row.min, row.max, row.min - 0.001, row.max + 0.001, Number.NaN, Number.POSITIVE_INFINITY];
        expect(tries.map((value) => isAllowed(row, value))).toEqual([true, true, false, false, false, false]);
      } else if (row.kind === 'text') {
        const tries = ['x'.repeat(row.minBytes), 'x'.repeat(row.maxBytes), 'x'.repeat(row.maxBytes + 1)];
        expect(tries.map((value) => isAllowed(row, value))).toEqual([true, true, false]);
        expect([row.path, isAllowed(row, 'a b\n')]).toEqual([row.path, !row.visibleAscii]);
      } else if (row.kind === 'choice') {
        expect(row.choices.map((value) => isAllowed(row, value))).toEqual(row.choices.map(() => true));
        expect(isAllowed(row, 'other')).toBe(false);
      } else {
        const full = Array.from({ length: row.maxItems }, () => 'x');
        expect([full, [...full, 'x'], ['']].map((value) => isAllowed(row, value))).toEqual([true, false, false]);
      }
    }
  });

  it('measures texts in bytes, not in characters', () => {
    const region = findOption('node.region')!;
    expect(isAllowed(region, '中'.repeat(21))).toBe(true);
    expect(isAllowed(region, '中'.repeat(22))).toBe(false);
  });
});

describe('what follows from the table', () => {
  it('is read back from every env name, at a value other than the default', () => {
    for (const row of OPTION_ROWS) {
      const [written, value] = otherValue(row.path);
      const env = { HALLEY_HTTP_TOKEN: 't', HALLEY_AUTH_MODE: 'open', ...companions(row.path), [row.env]: written };
      const loaded = loadConfig({ argvFlags: {}, env, readFile: noFile });
      const explained = explainConfig(loaded).find((candidate) => candidate.path === row.path)!;
      const shown = row.kind === 'text' && row.isSecret ? '[redacted]' : value;
      expect([row.path, explained.value, explained.originText]).toEqual([row.path, shown, `env ${row.env}`]);
    }
  });

  it('is read back from every flag', () => {
    for (const { path, name, flag } of flagRows()) {
      if (path === undefined) continue;
      const [written, value] = otherValue(path);
      const loaded = loadConfig({ argvFlags: { [name]: written }, env: companions(path), readFile: noFile });
      expect(explainConfig(loaded).find((row) => row.path === path)).toMatchObject({
        value,
        originText: `flag ${flag}`,
      });
    }
  });

  it('is one README row per option, with default, range, env, flag and meaning', () => {
    const lines = optionTableMarkdown().trimEnd().split('\n').slice(2);
    expect(lines.length).toBe(OPTION_ROWS.length);
    for (const [index, row] of OPTION_ROWS.entries()) {
      const cells = lines[index]!.slice(2, -2)
        .split(' | ')
        .map((cell) => cell.trim());
      const isSecret = row.kind === 'text' && row.isSecret;
      expect(cells).toEqual([
        `\`${row.path}\``,
        isSecret ? 'none (secret)' : `\`${tomlOf(row.default)}\``,
        expectationOf(row),
        `\`${row.env}\``,
        row.flag === undefined ? '' : `\`${row.flag}\``,
        row.doc,
      ]);
    }
  });

  it('is one help line per flag, with its meaning', () => {
    const lines = helpLines();
    expect(lines.length).toBe(flagRows().length);
    for (const [index, row] of flagRows().entries()) {
      expect(lines[index]).toContain(`  ${row.flag} ${row.placeholder}`);
      expect(lines[index]).toContain(row.doc);
    }
  });

  it('is config/default.toml, to the letter', () => {
    expect(readFileSync(new URL('../../config/default.toml', import.meta.url), 'utf8')).toBe(defaultToml());
  });

  it('is a default file that loads as exactly the defaults, each option named in it', () => {
    const readFile = () => defaultToml();
    const fromFile = loadConfig({ argvFlags: { config: 'd.toml' }, env: {}, readFile });
    expect(fromFile.config).toEqual(loadConfig({ argvFlags: {}, env: {}, readFile: noFile }).config);
    for (const row of OPTION_ROWS) expect([row.path, fromFile.origins[row.path].source]).toEqual([row.path, 'file']);
  });

  it('is an effective file that loads as the same configuration', () => {
    const lists = OPTION_ROWS.filter((row) => row.kind === 'list' && !NARROW_VALUES.has(row.path));
    const env = Object.fromEntries(lists.map((row) => [row.env, 'a"b:1:1,c:1:1']));
    const loaded = loadConfig({ argvFlags: { host: 'localhost', 'ws-port': '0' }, env, readFile: noFile });
    const again = loadConfig({ argvFlags: { config: 'e.toml' }, env: {}, readFile: () => effectiveToml(loaded) });
    expect(again.config).toEqual(loaded.config);
  });

  it('never makes a password of the word that hides one', () => {
    const secrets = { HALLEY_HTTP_TOKEN: 'top-s3cret', HALLEY_AUTH_JWT_SECRET: 's3cret'.repeat(8) };
    const shown = effectiveToml(loadConfig({ argvFlags: {}, env: secrets, readFile: noFile }));
    expect(shown).not.toContain('s3cret');
    expect(shown).toContain('# token = [redacted] (from env HALLEY_HTTP_TOKEN)');
    expect(parse(shown)['http']).not.toHaveProperty('token');
  });
});

/** Options that a rule narrows further than their row. */
const NARROW_VALUES: ReadonlyMap<string, [written: string, value: unknown]> = new Map([
  // The next one is the WebSocket's.
  ['tcp_port', ['3100', 3_100]],
  ['tls.ws_port', ['3100', 3_100]],
  ['tls.sni', ['a.example=a.crt:a.key', ['a.example=a.crt:a.key']]],
  ['upstream.events', ['message, connect', ['message', 'connect']]],
  ['ids.schemes', ['segment, rule', ['segment', 'rule']]],
  ['ids.tags', ['a:1:1, b:2:2', ['a:1:1', 'b:2:2']]],
  ['ids.rules', ['a={seq:4}', ['a={seq:4}']]],
  ['ids.machine', ['file:/x', 'file:/x']],
  ['ids.epoch_ms', ['1704067200010', 1_704_067_200_010]],
]);

/** For an option, a text other than its default, and the value that text stands for. */
function otherValue(path: string): [written: string, value: unknown] {
  const row = findOption(path)!;
  const narrow = NARROW_VALUES.get(path);
  if (narrow !== undefined) return narrow;
  switch (row.kind) {
    case 'int': {
      const candidates = row.powerOfTwo ? [row.default * 2] : [row.default + 1, row.default - 1, row.min];
      const value = candidates.find((candidate) => isAllowed(row, candidate))!;
      return [String(value), value];
    }
    case 'number':
      return [String(row.default + 0.01), row.default + 0.01];
    case 'text':
      return path === 'host' ? ['::1', '::1'] : ['x'.repeat(40), 'x'.repeat(40)];
    case 'choice': {
      const value = row.choices.find((candidate) => candidate !== row.default)!;
      return [value, value];
    }
    case 'list':
      return ['a:1:1, b:2:2', ['a:1:1', 'b:2:2']];
  }
}

/** Env that the rules between options want beside the other value of `path`. */
function companions(path: string): Record<string, string> {
  if (path === 'auth.mode') return { HALLEY_AUTH_JWT_SECRET: 'x'.repeat(32) };
  if (path === 'upstream.sink' || path === 'role') return { HALLEY_REDIS: 'redis://127.0.0.1' };
  if (path.startsWith('tls.')) return { HALLEY_TLS_CERT_FILE: 'a.crt', HALLEY_TLS_KEY_FILE: 'a.key' };
  return path === 'ring.max_record_bytes' ? { HALLEY_RING_BUCKET_BYTES: '16777216' } : {};
}
