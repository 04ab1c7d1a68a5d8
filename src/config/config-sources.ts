/**
 * The three sources of a configuration (file, env, flags), read into one list of values with their origins.
 *
 * Guarantees: strict. A name that no row has is a problem that names the nearest one; nothing is skipped. What a source
 * gives is returned as found: the caller checks it against its row.
 */
import { parse, TomlError, type TomlTable } from 'smol-toml';
import type { ConfigProblem, Origin } from './config-problem.js';
import { nearestName } from './nearest-name.js';
import {
  CONFIG_ENV,
  CONFIG_FLAG_NAME,
  ENV_PREFIX,
  findOption,
  flagRows,
  OPTION_ROWS,
  type OptionRow,
} from './option-rows.js';
import { GROUP_OPTIONS } from './option-table.js';
import { parseWritten, showUntyped } from './option-value.js';

export interface ConfigSources {
  /** Flags as given, by name without dashes (`ws-port`), as text. `config` names the file. */
  readonly argvFlags: Readonly<Record<string, string>>;
  /** The environment. Of it only `HALLEY_*` is read; `HALLEY_CONFIG` names the file where the flag does not. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file (UTF-8); throws where it cannot be read. */
  readonly readFile: (path: string) => string;
}

/** One value that a source gives for one option. */
export interface FoundValue {
  readonly row: OptionRow;
  readonly value: unknown;
  readonly origin: Origin;
}

export interface SourceReading {
  /** In order of precedence: a later entry of the same row wins. */
  readonly found: readonly FoundValue[];
  readonly problems: readonly ConfigProblem[];
  /** False where the file could not be read or parsed: then its values are missing, and rules between options mean nothing. */
  readonly isComplete: boolean;
}

/** Names under the prefix that are no options: the file, and the switch of our test runner, which child processes inherit. */
const RESERVED_ENV: ReadonlySet<string> = new Set([CONFIG_ENV, `${ENV_PREFIX}LONG`]);

const KNOWN_PATHS = OPTION_ROWS.map((row) => row.path);
const ROW_BY_ENV: ReadonlyMap<string, OptionRow> = new Map(OPTION_ROWS.map((row) => [row.env, row]));

/** Read all sources in order of precedence: file, env, flags. */
export function readSources(sources: ConfigSources): SourceReading {
  const found: FoundValue[] = [];
  const problems: ConfigProblem[] = [];
  const filePath = sources.argvFlags[CONFIG_FLAG_NAME] ?? sources.env[CONFIG_ENV];
  const isComplete = filePath === undefined || readFileSource(filePath, sources.readFile, found, problems);
  readEnvSource(sources.env, found, problems);
  readFlagSource(sources.argvFlags, found, problems);
  return { found, problems, isComplete };
}

function unknownOption(origin: Origin, path: string, nearest: string, fact: string, hint = ''): ConfigProblem {
  return { code: 'UNKNOWN_OPTION', path, sentence: `no such option, the nearest is ${nearest}${hint}`, origin, fact };
}

/** False where the file could not be read or parsed. */
function readFileSource(
  path: string,
  readFile: (path: string) => string,
  found: FoundValue[],
  problems: ConfigProblem[],
): boolean {
  const origin: Origin = { source: 'file', name: path };
  const fact = `config=${JSON.stringify(path)}`;
  let source: string;
  try {
    source = readFile(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.push({ code: 'FILE', path, sentence: `the file cannot be read, ${reason}`, origin, fact });
    return false;
  }
  let table: TomlTable;
  try {
    // Integers beyond 2^53 stay exact, so that their row refuses them by its bound.
    table = parse(source, { integersAsBigInt: 'asNeeded' });
  } catch (error) {
    problems.push({ code: 'FILE', path, sentence: `the file is not TOML, ${tomlReason(error)}`, origin, fact });
    return false;
  }
  for (const [key, value] of Object.entries(table)) readFileEntry(key, value, origin, found, problems);
  return true;
}

/** Position and kind of a syntax error. The parser's own text goes on to quote the line, which may hold a secret. */
function tomlReason(error: unknown): string {
  if (!(error instanceof TomlError)) return String(error);
  const kind = (error.message.split('\n')[0] as string).replace('Invalid TOML document: ', '');
  return `line ${error.line}, column ${error.column}, ${kind}`;
}

function readFileEntry(
  key: string,
  value: unknown,
  origin: Origin,
  found: FoundValue[],
  problems: ConfigProblem[],
): void {
  const row = key.includes('.') ? undefined : findOption(key);
  if (row !== undefined) {
    found.push({ row, value, origin });
    return;
  }
  const isGroup = Object.hasOwn(GROUP_OPTIONS, key);
  if (isGroup && !isTable(value)) {
    const sentence = `${key} is a group of options, write [${key}] and its options below`;
    problems.push({ code: 'BAD_VALUE', path: key, sentence, origin, fact: `${key}=${showKindOf(value)}` });
    return;
  }
  const entries = isTable(value) ? Object.entries(value) : [];
  if (!isGroup && entries.length === 0) {
    problems.push(unknownOption(origin, key, nearestName(key, KNOWN_PATHS), `option=${showUntyped(key)}`));
  }
  for (const [innerKey, innerValue] of entries) {
    const path = `${key}.${innerKey}`;
    // A key that holds a dot itself ("a.b" in quotes) must not reach the row of another path.
    const innerRow = isGroup && !innerKey.includes('.') ? findOption(path) : undefined;
    if (innerRow !== undefined) found.push({ row: innerRow, value: innerValue, origin });
    else problems.push(unknownOption(origin, path, nearestName(path, KNOWN_PATHS), `option=${showUntyped(path)}`));
  }
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** The kind only: what stands where a group belongs may be a secret of that group. */
function showKindOf(value: unknown): string {
  return `<${Array.isArray(value) ? 'list' : typeof value}>`;
}

function readEnvSource(env: ConfigSources['env'], found: FoundValue[], problems: ConfigProblem[]): void {
  for (const [name, written] of Object.entries(env)) {
    if (!name.startsWith(ENV_PREFIX) || RESERVED_ENV.has(name) || written === undefined) continue;
    const origin: Origin = { source: 'env', name };
    const row = ROW_BY_ENV.get(name);
    if (row !== undefined) {
      found.push({ row, value: parseWritten(row, written), origin });
      continue;
    }
    const nearest = nearestName(name, [...ROW_BY_ENV.keys(), CONFIG_ENV]);
    problems.push(unknownOption(origin, name, nearest, `env=${showUntyped(name)}`, serviceLinkHint(name)));
  }
}

/** Kubernetes sets such variables for every service of the namespace, so a service called "halley" ends up here. */
function serviceLinkHint(name: string): string {
  const isServiceLink = /_(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP)(_.*)?)?)$/.test(name);
  return isServiceLink ? '; if Kubernetes set it, say enableServiceLinks: false in the pod' : '';
}

function readFlagSource(flags: ConfigSources['argvFlags'], found: FoundValue[], problems: ConfigProblem[]): void {
  const known = flagRows();
  for (const [name, written] of Object.entries(flags)) {
    if (name === CONFIG_FLAG_NAME) continue;
    const origin: Origin = { source: 'flag', name: `--${name}` };
    const path = known.find((flagRow) => flagRow.name === name)?.path;
    const row = path === undefined ? undefined : findOption(path);
    if (row !== undefined) {
      found.push({ row, value: parseWritten(row, written), origin });
      continue;
    }
    const nearest = nearestName(
      origin.name,
      known.map((flagRow) => flagRow.flag),
    );
    // An option that exists but has no flag is better answered by its env name than by another option's flag.
    const withoutFlag = OPTION_ROWS.find(
      (candidate) => candidate.path.replaceAll(/[._]/g, '-') === name.replaceAll('.', '-'),
    );
    const answer =
      withoutFlag === undefined
        ? nearest
        : `${withoutFlag.path}, which has no flag: use the file or ${withoutFlag.env}`;
    problems.push(unknownOption(origin, name, answer, `flag=${showUntyped(origin.name)}`));
  }
}
