import { describe, expect, it } from 'vitest';
import { readDocs, readmeParts, renderReadme, stalePlaces } from '../scripts/docs.mjs';
import * as config from '../src/config/index.js';
import * as errors from '../src/errors/index.js';
import * as logic from '../src/logic/index.js';
import * as protocol from '../src/protocol/index.js';
import * as telemetry from '../src/telemetry/index.js';

const MODULES = { config, errors, logic, protocol, telemetry };

/** Cells of the rows below a Markdown table's head. */
const rowsOf = (markdown: string | undefined) =>
  (markdown ?? '')
    .split('\n')
    .slice(2)
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()));

describe('what is generated', () => {
  it('stands in the repository as the code has it: otherwise run npm run docs', () => {
    expect(stalePlaces(readDocs(), MODULES)).toEqual([]);
  });

  it('has a row for everything in the registries', () => {
    const parts = readmeParts(MODULES);
    const column = (part: string, index: number) => rowsOf(parts[part]).map((row) => row[index]);
    expect(column('close-codes', 2)).toEqual(Object.keys(errors.CLOSE).map((name) => `\`${name}\``));
    expect(column('client-errors', 1)).toEqual(Object.values(errors.CLIENT_ERROR).map(({ code }) => String(code)));
    expect(column('ops', 1)).toEqual(Object.values(protocol.OP).map(String));
    expect(column('metrics', 1)).toEqual(telemetry.METRICS.map(({ name }) => `\`${name}\``));
    expect(column('options', 1)).toEqual(config.OPTION_ROWS.map(({ path }) => `\`${path}\``));
    expect(column('routes', 1)).toContain('`POST /goim/push/room`');
    for (const [name, part] of Object.entries(parts)) {
      const widths = new Set(part.split('\n').map((line) => line.split(/(?<!\\)\|/).length));
      expect([name, widths.size]).toEqual([name, 1]);
    }
  });
});

describe('the check', () => {
  const parts = readmeParts(MODULES);
  const empty = Object.keys(parts)
    .map((name) => `## ${name}\n<!-- generated:${name} -->\nold\n<!-- /generated:${name} -->\ntext of ${name}\n`)
    .join('\n');

  it('names every part that is stale, and config/default.toml', () => {
    expect(stalePlaces({ readme: empty, defaultToml: '' }, MODULES)).toEqual([
      ...Object.keys(parts).map((name) => `README.md (${name})`),
      'config/default.toml',
    ]);
    const fresh = renderReadme(empty, parts);
    const defaultToml = config.defaultToml();
    expect(stalePlaces({ readme: fresh, defaultToml }, MODULES)).toEqual([]);
    expect(stalePlaces({ readme: fresh.replace('| 3500 |', '| 3400 |'), defaultToml }, MODULES)).toEqual([
      'README.md (close-codes)',
    ]);
  });

  it('writes between the markers only, and the same again the next time', () => {
    const fresh = renderReadme(empty, parts);
    expect(renderReadme(fresh, parts)).toBe(fresh);
    expect(fresh).not.toContain('\nold\n');
    for (const name of Object.keys(parts)) expect(fresh).toContain(`\ntext of ${name}\n`);
  });

  it('refuses a README without the markers of a part, or with markers of nothing', () => {
    expect(() => renderReadme(empty.replaceAll('generated:ops ', 'generated:op '), parts)).toThrow('name=ops');
    expect(() => renderReadme(`${empty}<!-- generated:x -->\n<!-- /generated:x -->`, parts)).toThrow('name=x');
  });
});
