/**
 * What one option is: the five kinds of value, their bounds, and the builders that keep a table row on one line.
 *
 * Guarantees: a spec is plain data. Everything else (type of the config object, validation, error text, help, env name,
 * README) is derived from it, nothing is written twice.
 */

interface SpecBase<Kind extends string, Value> {
  readonly kind: Kind;
  readonly default: Value;
  /** One sentence or two, with the meaning of 0 or "" where that is special. */
  readonly doc: string;
  /** True: a command-line flag exists for it. */
  readonly hasFlag: boolean;
}

/** A whole number of `min` to `max`, both allowed. */
export interface IntSpec extends SpecBase<'int', number> {
  readonly min: number;
  readonly max: number;
  /** True: 0 is allowed too, although `min` is larger (it turns the option off or leaves it to somebody else). */
  readonly orZero: boolean;
  readonly powerOfTwo: boolean;
}

/** A finite number of `min` to `max`, both allowed; fractions too. */
export interface NumberSpec extends SpecBase<'number', number> {
  readonly min: number;
  readonly max: number;
}

/** A text of `minBytes` to `maxBytes` bytes of UTF-8. */
export interface TextSpec extends SpecBase<'text', string> {
  readonly minBytes: number;
  readonly maxBytes: number;
  /** True: visible ASCII only, so that it fits into a header, a Redis key or a log line as it is. */
  readonly visibleAscii: boolean;
  /** True: never shown, in no error, table or log. */
  readonly isSecret: boolean;
  /** True: an URL whose login is never shown; the rest of it is. */
  readonly hidesLogin: boolean;
}

/** One of `choices`. */
export interface ChoiceSpec<Choice extends string = string> extends SpecBase<'choice', Choice> {
  readonly choices: readonly Choice[];
}

/** A list of at most `maxItems` non-empty texts. In env and flags they are separated by commas. */
export interface ListSpec extends SpecBase<'list', readonly string[]> {
  readonly maxItems: number;
}

export type OptionSpec = IntSpec | NumberSpec | TextSpec | ChoiceSpec | ListSpec;
export type OptionValue = number | string | readonly string[];

type Range = readonly [min: number, max: number];
interface Flagged {
  readonly hasFlag?: boolean;
}

export function int(
  defaultValue: number,
  [min, max]: Range,
  doc: string,
  extra: Flagged & { readonly orZero?: boolean; readonly powerOfTwo?: boolean } = {},
): IntSpec {
  return {
    kind: 'int',
    default: defaultValue,
    min,
    max,
    orZero: false,
    powerOfTwo: false,
    doc,
    hasFlag: false,
    ...extra,
  };
}

export function number(defaultValue: number, [min, max]: Range, doc: string): NumberSpec {
  return { kind: 'number', default: defaultValue, min, max, doc, hasFlag: false };
}

export function text(
  defaultValue: string,
  [minBytes, maxBytes]: Range,
  doc: string,
  extra: Flagged & { readonly visibleAscii?: boolean; readonly hidesLogin?: boolean } = {},
): TextSpec {
  const plain = { visibleAscii: false, isSecret: false, hidesLogin: false, hasFlag: false };
  return { kind: 'text', default: defaultValue, minBytes, maxBytes, doc, ...plain, ...extra };
}

/** A secret starts empty: there are no default credentials. It has no flag, because a command line can be read by others. */
export function secret(maxBytes: number, doc: string): TextSpec {
  return { ...text('', [0, maxBytes], doc, { visibleAscii: true }), isSecret: true };
}

export function choice<const Choice extends string>(
  defaultValue: NoInfer<Choice>,
  choices: readonly Choice[],
  doc: string,
  extra: Flagged = {},
): ChoiceSpec<Choice> {
  return { kind: 'choice', default: defaultValue, choices, doc, hasFlag: false, ...extra };
}

export function list(maxItems: number, doc: string): ListSpec {
  return { kind: 'list', default: [], maxItems, doc, hasFlag: false };
}
