/**
 * The table as a flat list of rows, each with the three names of its option: path, env variable and flag.
 */
import type { OptionSpec, OptionValue } from './option-spec.js';
import { type Config, GROUP_OPTIONS, type OptionPath, ROOT_OPTIONS } from './option-table.js';

export const ENV_PREFIX = 'HALLEY_';

export type OptionRow = OptionSpec & {
  /** `fanout.max_delay_ms` */
  readonly path: OptionPath;
  /** `fanout`; `""` for an option outside any group. */
  readonly group: string;
  /** `max_delay_ms` */
  readonly key: string;
  /** `HALLEY_FANOUT_MAX_DELAY_MS` */
  readonly env: string;
  /** `--server-id`; undefined for an option without a flag. */
  readonly flag: string | undefined;
};

function rowOf(group: string, key: string, spec: OptionSpec): OptionRow {
  const path = group === '' ? key : `${group}.${key}`;
  return {
    ...spec,
    // The list is built from the same two objects as the type, so every path in it is an OptionPath.
    path: path as OptionPath,
    group,
    key,
    env: `${ENV_PREFIX}${path.replaceAll('.', '_').toUpperCase()}`,
    flag: spec.hasFlag ? `--${path.replaceAll(/[._]/g, '-')}` : undefined,
  };
}

function rowsOf(group: string, specs: Readonly<Record<string, OptionSpec>>): OptionRow[] {
  return Object.entries(specs).map(([key, spec]) => rowOf(group, key, spec));
}

/** Every option, in the order of the table. */
export const OPTION_ROWS: readonly OptionRow[] = Object.freeze([
  ...rowsOf('', ROOT_OPTIONS),
  ...Object.entries(GROUP_OPTIONS).flatMap(([group, specs]) => rowsOf(group, specs)),
]);

const ROW_BY_PATH: ReadonlyMap<string, OptionRow> = new Map(OPTION_ROWS.map((row) => [row.path, row]));

/** The row of an option, or undefined where there is no such option. */
export function findOption(path: string): OptionRow | undefined {
  return ROW_BY_PATH.get(path);
}

/** True for a secret: its value must not be shown. */
export function isSecret(row: OptionRow): boolean {
  return row.kind === 'text' && row.isSecret;
}

/** The value of one option in a configuration. */
export function optionValue(config: Config, row: OptionRow): OptionValue {
  const values = config as unknown as Record<string, OptionValue | Record<string, OptionValue>>;
  const holder = row.group === '' ? values : values[row.group];
  return (holder as Record<string, OptionValue>)[row.key] as OptionValue;
}

export interface FlagRow {
  /** `--ws-port` */
  readonly flag: string;
  /** `ws-port`: the name under which loadConfig wants the flag's text. */
  readonly name: string;
  /** `<int>`: what the flag takes. */
  readonly placeholder: string;
  readonly doc: string;
  /** Path of the option; undefined for `--config`, which names the file and is no option of it. */
  readonly path: OptionPath | undefined;
}

/** Name of the flag (and, with the prefix, of the env variable) that names the configuration file. */
export const CONFIG_FLAG_NAME = 'config';
export const CONFIG_ENV = `${ENV_PREFIX}CONFIG`;

/** Every flag the configuration understands, `--config` first. */
export function flagRows(): FlagRow[] {
  const rows: FlagRow[] = [
    {
      flag: `--${CONFIG_FLAG_NAME}`,
      name: CONFIG_FLAG_NAME,
      placeholder: '<file>',
      doc: 'TOML file with options; without it only defaults, env and flags count.',
      path: undefined,
    },
  ];
  for (const { flag, kind, doc, path } of OPTION_ROWS) {
    if (flag !== undefined) rows.push({ flag, name: flag.slice(2), placeholder: `<${kind}>`, doc, path });
  }
  return rows;
}
