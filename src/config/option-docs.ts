/**
 * The table as text: help lines, README table, config/default.toml, and the effective configuration of `config show`.
 */

import { originText } from './config-problem.js';
import type { LoadedConfig } from './load-config.js';
import { ENV_PREFIX, flagRows, isSecret, OPTION_ROWS, type OptionRow, optionValue } from './option-rows.js';
import { expectationOf, showValue, tomlOf, withoutLogin } from './option-value.js';

/** One line per flag for `--help`, flag and doc in columns, with the default where there is one. */
export function helpLines(): string[] {
  const heads = flagRows().map((row) => `${row.flag} ${row.placeholder}`);
  const width = Math.max(...heads.map((head) => head.length));
  return flagRows().map((row, index) => {
    const option = OPTION_ROWS.find((candidate) => candidate.path === row.path);
    const suffix = option === undefined ? '' : ` [${tomlOf(option.default)}]`;
    return `  ${(heads[index] as string).padEnd(width)}  ${row.doc}${suffix}`;
  });
}

/** The option table of the README, as Markdown. */
export function optionTableMarkdown(): string {
  const lines = ['| option | default | range | env | flag | meaning |', '|---|---|---|---|---|---|'];
  for (const row of OPTION_ROWS) {
    const cells = [
      `\`${row.path}\``,
      isSecret(row) ? 'none (secret)' : `\`${tomlOf(row.default)}\``,
      expectationOf(row),
      `\`${row.env}\``,
      row.flag === undefined ? '' : `\`${row.flag}\``,
      row.doc,
    ];
    lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}

/** What config/default.toml holds: every option at its default, with its meaning, its range and its other names. */
export function defaultToml(): string {
  const head = [
    '# Every option of Halley at its default. Generated from src/config/option-table.ts, and a test keeps it equal:',
    '# change the table, not this file. Halley does not read it by itself; copy what you change and pass it by --config.',
    `# Precedence: default < file < ${ENV_PREFIX}* environment < flag. Unknown names and values out of range are errors.`,
  ];
  return renderToml(head, (row) => [
    '',
    `# ${row.doc}`,
    `# ${expectationOf(row)}; ${row.env}${row.flag === undefined ? '' : `; ${row.flag}`}`,
    `${row.key} = ${tomlOf(row.default)}`,
  ]);
}

/**
 * The effective configuration as TOML that can be loaded again. A secret that is set stands as a comment: a file made
 * from this output must not turn the word "[redacted]" into a password.
 */
export function effectiveToml({ config, origins }: LoadedConfig): string {
  return renderToml(['# Effective configuration of Halley.'], (row) => {
    const value = optionValue(config, row);
    const isShown = !isSecret(row) || value === '';
    if (isShown && withoutLogin(row, value) === value) return [`${row.key} = ${tomlOf(value)}`];
    return [`# ${row.key} = ${showValue(row, value)} (from ${originText(origins[row.path])})`];
  });
}

function renderToml(head: readonly string[], render: (row: OptionRow) => readonly string[]): string {
  const lines = [...head];
  let group = '';
  for (const row of OPTION_ROWS) {
    if (row.group !== group) lines.push('', `[${row.group}]`);
    group = row.group;
    lines.push(...render(row));
  }
  return `${lines.join('\n')}\n`;
}
