/**
 * The rules of the id service as they stand in options: `ids.schemes`, `ids.tags` (`order:1000:0`, `*:500:0`), `ids.rules`
 * (`order=ORD-{date:yyyyMMdd}-{seq:6}`) and `ids.machine`.
 *
 * Guarantees: what these functions accept the service accepts; the templates themselves are judged where they are used.
 */
import { HalleyError } from '../errors/index.js';

/** Every scheme of the id service: the values of `ids.schemes`. */
export const ID_SCHEME_NAMES = [
  'snowflake',
  'sonyflake',
  'uuid-v4',
  'uuid-v7',
  'segment',
  'offset',
  'redis-incr',
  'rule',
] as const;
export type IdSchemeName = (typeof ID_SCHEME_NAMES)[number];

/** How the ids of one business tag are counted. */
export interface IdTagRule {
  /** `*`: all tags without a rule of their own. */
  readonly tag: string;
  /** Ids taken from the store at a time, at first and at least. */
  readonly stepCount: number;
  /** The greatest id of the tag; 0: no maximum. */
  readonly maxId: number;
}

/** Where machine ids come from; `lease` takes any that is free. */
export type IdMachineRule =
  | { readonly kind: 'lease' }
  | { readonly kind: 'private-ip' }
  | { readonly kind: 'configured'; readonly machineId: number }
  | { readonly kind: 'file'; readonly path: string };

export const ANY_TAG = '*';
const TAG_PATTERN = /^[A-Za-z0-9\-_./:]{1,64}$/;
const MAX_STEP_COUNT = 1_000_000;
/** 2^53 - 2: every id is exact as a double. */
const MAX_ID = Number.MAX_SAFE_INTEGER - 1;
const FILE_PREFIX = 'file:';

/** A business tag as clients name it: 1 to 64 of A-Z a-z 0-9 - _ . / : */
export function isIdTag(tag: string): boolean {
  return TAG_PATTERN.test(tag);
}

function isRuleTag(tag: string): boolean {
  return tag === ANY_TAG || isIdTag(tag);
}

/** A rule, or the sentence that says what is wrong with it. A tag may hold colons: step and maximum are the last two. */
function parseTag(text: string): IdTagRule | string {
  const match = /^(.+):(\d{1,16}):(\d{1,16})$/.exec(text);
  if (match === null || !isRuleTag(match[1] as string)) {
    return `a rule of ids.tags must be name:step:max, as in order:1000:0: rule=${text}`;
  }
  const stepCount = Number(match[2]);
  const maxId = Number(match[3]);
  if (stepCount < 1 || stepCount > MAX_STEP_COUNT) {
    return `a rule of ids.tags must have a step of 1 to ${MAX_STEP_COUNT}: rule=${text}`;
  }
  if (maxId > MAX_ID) return `a rule of ids.tags must have a maximum of 0 (none) to ${MAX_ID}: rule=${text}`;
  return { tag: match[1] as string, stepCount, maxId };
}

function parseAll<Rule extends { readonly tag: string }>(
  option: string,
  texts: readonly string[],
  parse: (text: string) => Rule | string,
): Rule[] | string {
  const byTag = new Map<string, Rule>();
  for (const text of texts) {
    const rule = parse(text);
    if (typeof rule === 'string') return rule;
    if (byTag.has(rule.tag)) return `${option} must have one rule per tag: rule=${text}`;
    byTag.set(rule.tag, rule);
  }
  return [...byTag.values()];
}

function parseTemplate(text: string): { readonly tag: string; readonly template: string } | string {
  const equalsAt = text.indexOf('=');
  const tag = text.slice(0, Math.max(0, equalsAt));
  if (equalsAt < 0 || !isRuleTag(tag) || equalsAt === text.length - 1) {
    return `a rule of ids.rules must be name=template, as in order=ORD-{date:yyyyMMdd}-{seq:6}: rule=${text}`;
  }
  return { tag, template: text.slice(equalsAt + 1) };
}

function parseMachine(text: string): IdMachineRule | string {
  if (text === 'lease' || text === 'private-ip') return { kind: text };
  if (/^\d{1,5}$/.test(text) && Number(text) < 65_536) return { kind: 'configured', machineId: Number(text) };
  if (text.startsWith(FILE_PREFIX) && text.length > FILE_PREFIX.length) {
    return { kind: 'file', path: text.slice(FILE_PREFIX.length) };
  }
  return 'ids.machine must be lease, private-ip, file:PATH, or a number of 0 to 65535';
}

/** What is wrong with the texts of one option; undefined where they are sound. */
export function idSchemesProblem(names: readonly string[]): string | undefined {
  const known: readonly string[] = ID_SCHEME_NAMES;
  const isSound = names.every((name) => known.includes(name));
  return isSound ? undefined : `ids.schemes must name schemes: ${ID_SCHEME_NAMES.join(', ')}`;
}

export function idTagsProblem(texts: readonly string[]): string | undefined {
  return problemOf(parseAll('ids.tags', texts, parseTag));
}
export function idTemplatesProblem(texts: readonly string[]): string | undefined {
  return problemOf(parseAll('ids.rules', texts, parseTemplate));
}
export function idMachineProblem(text: string): string | undefined {
  return problemOf(parseMachine(text));
}

function problemOf(parsed: object | string): string | undefined {
  return typeof parsed === 'string' ? parsed : undefined;
}

function required<Value extends object>(parsed: Value | string): Value {
  if (typeof parsed === 'string') throw new HalleyError('BAD_ID_RULE', parsed);
  return parsed;
}

/** The parsed values. @throws HalleyError BAD_ID_RULE, where the table's own check was not asked */
export function parseIdTags(texts: readonly string[]): readonly IdTagRule[] {
  return required(parseAll('ids.tags', texts, parseTag));
}
/** Templates by tag. */
export function parseIdTemplates(texts: readonly string[]): ReadonlyMap<string, string> {
  return new Map(required(parseAll('ids.rules', texts, parseTemplate)).map(({ tag, template }) => [tag, template]));
}
export function parseIdMachine(text: string): IdMachineRule {
  return required(parseMachine(text));
}
/** The schemes meant; an empty list means all. */
export function parseIdSchemes(names: readonly string[]): readonly IdSchemeName[] {
  const problem = idSchemesProblem(names);
  if (problem !== undefined) throw new HalleyError('BAD_ID_RULE', problem);
  return names.length === 0 ? ID_SCHEME_NAMES : (names as readonly IdSchemeName[]);
}
