/**
 * The language of rule-made ids.
 *
 *   ORD-{tag}-{date:yyyyMMdd}-{seq:6}{mod97}
 *
 *   text          A-Z a-z 0-9 - _ . / : as they stand
 *   {tag}         the business tag of the generator, in the same characters
 *   {date:FORMAT} yyyy or yy, MM, dd, HH, mm, ss, in any order and with separators; with a field, every coarser one. At most once.
 *                 The sequence begins anew with each day, month or year: whatever the date shows (hours and finer only adorn).
 *   {seq:N}       the sequence from 1 on, N digits (1 to 15) padded with zeros. Exactly once.
 *   {luhn}        one check digit over all digits before it; no letters may stand before it
 *   {mod97}       two check digits (ISO 7064) over all digits and capital letters before it
 *
 * A check comes last. Every id of a template has the same length. Errors are ID_BAD_TEMPLATE and name the position, from 1.
 */
import { HalleyError } from '../errors/index.js';

export type DateToken = 'yyyy' | 'yy' | 'MM' | 'dd' | 'HH' | 'mm' | 'ss';
export type CheckKind = 'luhn' | 'mod97';
/** What begins the sequence anew. */
export type RulePeriod = 'day' | 'month' | 'year' | 'never';

/** Where something stands in every id, from 0. */
export interface RuleField {
  readonly offset: number;
  readonly length: number;
}

export interface RuleTemplate {
  /** An id with zeros where date, sequence and check stand. */
  readonly skeleton: string;
  readonly dates: readonly (RuleField & { readonly token: DateToken })[];
  readonly sequence: RuleField;
  readonly check: (RuleField & { readonly kind: CheckKind }) | undefined;
  readonly period: RulePeriod;
}

const MAX_LENGTH = 64;
const MAX_SEQUENCE_DIGITS = 15;
const PLAIN = /^[A-Za-z0-9\-_./:]$/;
const TOKENS: readonly DateToken[] = ['yyyy', 'yy', 'MM', 'dd', 'HH', 'mm', 'ss'];
/** From coarse to fine; the year has two spellings. */
const FINENESS: Readonly<Record<DateToken, number>> = { yyyy: 0, yy: 0, MM: 1, dd: 2, HH: 3, mm: 4, ss: 5 };
const FIELD_NAMES = ['a year', 'MM', 'dd', 'HH', 'mm', 'ss'] as const;

/** @param tag the business tag; '' where the template has no {tag} */
export function parseRuleTemplate(template: string, tag: string): RuleTemplate {
  const dates: (RuleField & { token: DateToken })[] = [];
  let sequence: RuleField | undefined;
  let check: (RuleField & { kind: CheckKind }) | undefined;
  let skeleton = '';
  let hasTag = false;
  const refuse = (problem: string, index: number): never => {
    throw new HalleyError('ID_BAD_TEMPLATE', problem, { template, position: index + 1 });
  };
  for (let index = 0; index < template.length; index++) {
    const character = template[index]!;
    if (check !== undefined) refuse(`nothing follows the check digits {${check.kind}}`, index);
    if (character !== '{') {
      if (!PLAIN.test(character)) refuse('a template has A-Z a-z 0-9 - _ . / : and fields in braces', index);
      skeleton += character;
      continue;
    }
    const end = template.indexOf('}', index);
    if (end < 0) refuse('a field ends in }', index);
    const [, name = '', hasArgument, argument = ''] = /^([^:]*)(:?)(.*)$/.exec(template.slice(index + 1, end)) ?? [];
    const argumentIndex = index + 1 + name.length + (hasArgument ?? '').length;
    if (name !== 'date' && name !== 'seq' && hasArgument === ':')
      refuse(`{${name}} takes no argument`, argumentIndex - 1);
    const offset = skeleton.length;
    if (name === 'tag') {
      if (tag === '') refuse('the template has a {tag} and the generator none', index);
      hasTag = true;
      skeleton += tag;
    } else if (name === 'seq') {
      if (sequence !== undefined) refuse('a template has one {seq:N}', index);
      const length = /^[1-9]\d?$/.test(argument) ? Number(argument) : 0;
      if (length < 1 || length > MAX_SEQUENCE_DIGITS)
        refuse(`{seq:N} has 1 to ${MAX_SEQUENCE_DIGITS} digits`, argumentIndex);
      sequence = { offset, length };
      skeleton += '0'.repeat(length);
    } else if (name === 'date') {
      if (dates.length > 0) refuse('a template has one {date:FORMAT}', index);
      skeleton += parseDate(argument, argumentIndex, offset, dates, refuse);
    } else if (name === 'luhn' || name === 'mod97') {
      const length = name === 'luhn' ? 1 : 2;
      check = { kind: name, offset, length };
      skeleton += '0'.repeat(length);
    } else refuse('the fields are {tag} {date:FORMAT} {seq:N} {luhn} {mod97}', index);
    index = end;
  }
  requireTagText(tag, hasTag, refuse);
  if (sequence === undefined) return refuse('a template has one {seq:N}', template.length);
  if (skeleton.length > MAX_LENGTH)
    refuse(`an id has at most ${MAX_LENGTH} characters, this has ${skeleton.length}`, 0);
  if (check !== undefined) requireCheckable(skeleton, check.kind, template, refuse);
  return { skeleton, dates, sequence, check, period: periodOf(dates) };
}

type Refuse = (problem: string, index: number) => never;

/** Read a date format, add its fields to `dates`, return what it puts into the skeleton. */
function parseDate(
  format: string,
  formatIndex: number,
  offset: number,
  dates: (RuleField & { token: DateToken })[],
  refuse: Refuse,
): string {
  let text = '';
  for (let at = 0; at < format.length; ) {
    const token = TOKENS.find((candidate) => format.startsWith(candidate, at));
    if (token === undefined) {
      if (!/^[-_./:]$/.test(format[at]!)) refuse('a date is of yyyy yy MM dd HH mm ss and - _ . / :', formatIndex + at);
      text += format[at++]!;
      continue;
    }
    if (dates.some((field) => FINENESS[field.token] === FINENESS[token])) {
      refuse(`a date shows ${FIELD_NAMES[FINENESS[token]]} once`, formatIndex + at);
    }
    dates.push({ token, offset: offset + text.length, length: token.length });
    text += '0'.repeat(token.length);
    at += token.length;
  }
  const shown = new Set(dates.map((field) => FINENESS[field.token]));
  if (shown.size === 0) refuse('a date shows at least its year, yyyy or yy', formatIndex);
  // Without its month a day comes again, and the sequence with it.
  for (let fineness = 0; fineness < Math.max(...shown); fineness++) {
    if (!shown.has(fineness)) {
      refuse(`a date with ${FIELD_NAMES[Math.max(...shown)]} shows ${FIELD_NAMES[fineness]} too`, formatIndex);
    }
  }
  return text;
}

function periodOf(dates: readonly { readonly token: DateToken }[]): RulePeriod {
  const finest = Math.max(-1, ...dates.map((field) => FINENESS[field.token]));
  return finest < 0 ? 'never' : finest === 0 ? 'year' : finest === 1 ? 'month' : 'day';
}

function requireTagText(tag: string, hasTag: boolean, refuse: Refuse): void {
  if (tag !== '' && !hasTag) refuse('the generator has a tag and the template no {tag}', 0);
  const bad = [...tag].findIndex((character) => !PLAIN.test(character));
  if (bad >= 0) {
    throw new HalleyError('ID_BAD_TEMPLATE', 'a tag has A-Z a-z 0-9 - _ . / :', {
      tag: tag.slice(0, 60),
      position: bad + 1,
    });
  }
}

/** Check digits would not protect characters that they pass over. */
function requireCheckable(skeleton: string, kind: CheckKind, template: string, refuse: Refuse): void {
  const outside = kind === 'luhn' ? /[A-Za-z]/ : /[a-z]/;
  const covers = kind === 'luhn' ? 'digits only: use {mod97} with letters' : 'digits and capital letters only';
  if (!outside.test(skeleton)) return;
  // Fields are lower case themselves; the character is looked for outside of them.
  const bare = template.replace(/\{[^}]*\}/g, (field) => '0'.repeat(field.length));
  const index = bare.search(outside);
  refuse(`{${kind}} covers ${covers}`, index >= 0 ? index : template.indexOf('{tag}'));
}
