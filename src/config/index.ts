/**
 * config: one table of options, and everything that follows from it.
 *
 * `option-table.ts` has one row per option: name with its unit, default, range, meaning, whether it has a flag, whether it
 * is a secret. From the rows come the type `Config`, validation, error texts, `--help`, env names, the README table and
 * config/default.toml; nothing is written twice. To understand the room read the table, then `load-config.ts`.
 *
 * Precedence: default < file (`--config` or `HALLEY_CONFIG`) < `HALLEY_*` < flag; each value remembers its origin. Strict:
 * a name no row has is an error that names the nearest one; a wrong type or range is an error that states the bound;
 * nothing is clamped or skipped. Problems are collected and reported together. Secrets are redacted wherever values are
 * shown, and start empty: there are no default credentials, so a node that others can reach refuses to start without its own.
 *
 * Who may call: `cli/` loads, once; every other room takes the part of `Config` it needs as an argument. The result is
 * frozen plain data and is handed to workers as it is. This folder never reads argv, env or files itself.
 */
export { checkConfig, isLoopback } from './check-config.js';
export { type ConfigProblem, configError, type Origin, originText, problemLine } from './config-problem.js';
export type { ConfigSources } from './config-sources.js';
export { explainConfig, type OptionExplanation, redactedConfig } from './explain-config.js';
export { type HistoryRule, HistoryRules, historyRulesProblem } from './history-rules.js';
export {
  ANY_TAG,
  ID_SCHEME_NAMES,
  type IdMachineRule,
  type IdSchemeName,
  type IdTagRule,
  isIdTag,
  parseIdMachine,
  parseIdSchemes,
  parseIdTags,
  parseIdTemplates,
} from './id-rules.js';
export { type ConfigInspection, inspectConfig, type LoadedConfig, loadConfig, type Origins } from './load-config.js';
export { nearestName } from './nearest-name.js';
export { defaultToml, effectiveToml, helpLines, optionTableMarkdown } from './option-docs.js';
export { type FlagRow, findOption, flagRows, OPTION_ROWS, type OptionRow } from './option-rows.js';
export type { OptionValue } from './option-spec.js';
export { type Config, type GroupName, type OptionPath, UPSTREAM_EVENT_TYPES } from './option-table.js';
export { parseSni, type SniEntry, sniProblem } from './sni-rules.js';
