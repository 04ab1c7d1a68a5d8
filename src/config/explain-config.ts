/**
 * Why an option has the value it has: value, origin and meaning, with secrets redacted. Plain data, for tables and JSON.
 */
import { type Origin, originText } from './config-problem.js';
import type { LoadedConfig } from './load-config.js';
import { isSecret, OPTION_ROWS, type OptionRow, optionValue } from './option-rows.js';
import type { OptionValue } from './option-spec.js';
import type { OptionPath } from './option-table.js';
import { expectationOf, REDACTED, showValue, withoutLogin } from './option-value.js';

export interface OptionExplanation {
  readonly path: OptionPath;
  /** The value; `"[redacted]"` for a secret that is set. */
  readonly value: OptionValue;
  /** The value as it is written in TOML; long ones are cut. */
  readonly shown: string;
  readonly origin: Origin;
  readonly originText: string;
  readonly default: OptionValue;
  readonly range: string;
  readonly env: string;
  readonly flag: string | undefined;
  readonly doc: string;
}

/** Explain every option, in the order of the table. */
export function explainConfig(loaded: LoadedConfig): OptionExplanation[] {
  return OPTION_ROWS.map((row) => explainRow(loaded, row));
}

/** The effective values as nested plain data with secrets redacted, for JSON. */
export function redactedConfig({ config }: Pick<LoadedConfig, 'config'>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const row of OPTION_ROWS) {
    const value = redactedValue(row, optionValue(config, row));
    if (row.group === '') values[row.key] = value;
    else values[row.group] = { ...(values[row.group] as object | undefined), [row.key]: value };
  }
  return values;
}

function explainRow({ config, origins }: LoadedConfig, row: OptionRow): OptionExplanation {
  const value = optionValue(config, row);
  const origin = origins[row.path];
  return {
    path: row.path,
    value: redactedValue(row, value),
    shown: showValue(row, value),
    origin,
    originText: originText(origin),
    default: row.default,
    range: expectationOf(row),
    env: row.env,
    flag: row.flag,
    doc: row.doc,
  };
}

function redactedValue(row: OptionRow, value: OptionValue): OptionValue {
  return isSecret(row) && value !== '' ? REDACTED : withoutLogin(row, value);
}
