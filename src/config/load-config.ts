/**
 * From sources to a configuration: default < profile < file < env < flag, each value checked, then the rules between them.
 *
 * Threads: called once, on the control thread, at start. Workers get the result as plain data.
 * Guarantees: all problems are found in one pass and reported together; the result is frozen to the bottom; the caller's
 * objects are neither kept nor changed.
 */
import { checkConfig } from './check-config.js';
import { type ConfigProblem, configError, DEFAULT_ORIGIN, type Origin } from './config-problem.js';
import { type ConfigSources, type FoundValue, readSources } from './config-sources.js';
import { OPTION_ROWS, type OptionRow } from './option-rows.js';
import type { Config, OptionPath } from './option-table.js';
import { expectationOf, isAllowed, showValue } from './option-value.js';
import { PROFILE_PATH, profileDefaults } from './profiles.js';

export type Origins = Readonly<Record<OptionPath, Origin>>;

export interface LoadedConfig {
  readonly config: Config;
  /** Where each value came from. */
  readonly origins: Origins;
}

export interface ConfigInspection extends LoadedConfig {
  /** Empty where the configuration may be used. Otherwise `config` is for showing only: refused values stand at their default. */
  readonly problems: readonly ConfigProblem[];
}

/** Load and check without throwing, for `config check` and `config explain`. A program that runs uses `loadConfig`. */
export function inspectConfig(sources: ConfigSources): ConfigInspection {
  const { found, problems: sourceProblems, isComplete } = readSources(sources);
  const problems = [...sourceProblems];
  const valueByPath = new Map<OptionPath, unknown>();
  const originByPath = new Map<OptionPath, Origin>();
  const refusedPaths = new Set<OptionPath>();
  for (const row of OPTION_ROWS) {
    valueByPath.set(row.path, row.default);
    originByPath.set(row.path, DEFAULT_ORIGIN);
  }
  const profile = found.findLast(({ row }) => row.path === PROFILE_PATH)?.value;
  for (const [path, value] of Object.entries(profileDefaults(profile))) {
    valueByPath.set(path as OptionPath, value);
    originByPath.set(path as OptionPath, { source: 'profile', name: String(profile) });
  }
  for (const entry of found) {
    if (!isAllowed(entry.row, entry.value)) {
      // Refused even where a later source overrides it: a file with a wrong value is wrong.
      problems.push(badValue(entry));
      refusedPaths.add(entry.row.path);
      continue;
    }
    valueByPath.set(entry.row.path, entry.value);
    originByPath.set(entry.row.path, entry.origin);
  }
  const config = assembleConfig(valueByPath);
  const origins = Object.freeze(Object.fromEntries(originByPath)) as Origins;
  if (isComplete) problems.push(...checkConfig(config, origins, refusedPaths));
  return { config, origins, problems };
}

/**
 * The configuration of this process.
 *
 * @throws HalleyError `CONFIG_INVALID` with every problem, one line each
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const { config, origins, problems } = inspectConfig(sources);
  if (problems.length > 0) throw configError(problems);
  return { config, origins };
}

function badValue({ row, value, origin }: FoundValue): ConfigProblem {
  return {
    code: 'BAD_VALUE',
    path: row.path,
    sentence: `${row.path} must be ${expectationOf(row)}`,
    origin,
    fact: `${row.path}=${showValue(row, value)}`,
  };
}

function assembleConfig(valueByPath: ReadonlyMap<OptionPath, unknown>): Config {
  const config: Record<string, unknown> = {};
  for (const row of OPTION_ROWS) {
    const value = valueByPath.get(row.path);
    holderOf(config, row)[row.key] = Array.isArray(value) ? Object.freeze([...value]) : value;
  }
  for (const value of Object.values(config)) Object.freeze(value);
  // Every row has been set to a value that passed its schema, which is what the type says.
  return Object.freeze(config) as unknown as Config;
}

function holderOf(config: Record<string, unknown>, row: OptionRow): Record<string, unknown> {
  if (row.group === '') return config;
  config[row.group] ??= {};
  return config[row.group] as Record<string, unknown>;
}
