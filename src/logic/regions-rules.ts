/**
 * regions-rules: reads the rules that an operator wrote: which addresses belong to which region, and where a region lies.
 *
 * Forms: `203.0.113.0/24=bj`, `2001:db8::/32=sh`, one address without a prefix length; `bj=39.9,116.4` for places. In a file
 * one rule stands on a line; empty lines and lines that begin with `#` count for nothing.
 * Guarantees: strict, and every error names the line (in an option: the place in its list). Nothing is skipped or guessed.
 */
import { type CidrRule, parseCidr } from '../address/index.js';
import { HalleyError } from '../errors/index.js';
import { type GeoPoint, MAX_LATITUDE, MAX_LONGITUDE, parseDegrees } from './great-circle.js';

export const REGION_MAX_BYTES = 64;
const SHOWN_CHARACTERS = 80;

function invalid(sentence: string, source: string, line: number, rule: string): HalleyError {
  const shown = rule.length > SHOWN_CHARACTERS ? `${rule.slice(0, SHOWN_CHARACTERS)}...` : rule;
  return new HalleyError('REGION_RULE_INVALID', sentence, { source, line, rule: shown });
}

/** What is wrong with a region's name, as the end of a sentence; undefined where nothing is. */
export function regionProblem(region: string): string | undefined {
  // A comma or an equals sign would not survive the forms above, control characters no log.
  return region !== '' && Buffer.byteLength(region) <= REGION_MAX_BYTES && !/[,=\p{Cc}]/u.test(region)
    ? undefined
    : `must be a text of 1 to ${REGION_MAX_BYTES} bytes without "," and "="`;
}

function parseRegionRule(text: string, source: string, line: number): CidrRule {
  const equalsAt = text.indexOf('=');
  if (equalsAt < 0) throw invalid('a rule must have the form "block=region"', source, line, text);
  const cidr = parseCidr(text.slice(0, equalsAt).trim());
  if (typeof cidr === 'string') throw invalid(`the block of addresses ${cidr}`, source, line, text);
  const value = text.slice(equalsAt + 1).trim();
  const problem = regionProblem(value);
  if (problem !== undefined) throw invalid(`the region ${problem}`, source, line, text);
  return { cidr, value, source, line };
}

/**
 * The rules of an option, one an item.
 * @throws HalleyError REGION_RULE_INVALID
 */
export function parseRegionList(rules: readonly string[], source: string): CidrRule[] {
  return rules.map((text, index) => parseRegionRule(text.trim(), source, index + 1));
}

/**
 * The rules of a file.
 * @throws HalleyError REGION_RULE_INVALID
 */
export function parseRegionFile(text: string, source: string): CidrRule[] {
  const rules: CidrRule[] = [];
  // A byte order mark is what an editor left, not part of the first rule.
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const rule = raw.trim();
    if (rule !== '' && !rule.startsWith('#')) rules.push(parseRegionRule(rule, source, index + 1));
  }
  return rules;
}

/** `39.9,116.4`; undefined where it is no place. */
function parsePlace(text: string): GeoPoint | undefined {
  const [first = '', second = '', ...more] = text.split(',').map((part) => part.trim());
  const latitude = parseDegrees(first, MAX_LATITUDE);
  const longitude = parseDegrees(second, MAX_LONGITUDE);
  if (latitude === undefined || longitude === undefined || more.length > 0) return undefined;
  return { latitude, longitude };
}

/**
 * Where regions lie.
 * @param items `bj=39.9,116.4`. An item without `=` belongs to the one before it: in an env variable the comma inside a place
 *   has split it, since lists are separated by commas there
 * @throws HalleyError REGION_RULE_INVALID
 */
export function parseRegionPlaces(items: readonly string[], source: string): ReadonlyMap<string, GeoPoint> {
  const rules: { text: string; readonly line: number }[] = [];
  for (const [index, item] of items.entries()) {
    const last = rules.at(-1);
    if (item.includes('=') || last === undefined) rules.push({ text: item, line: index + 1 });
    else last.text += `,${item}`;
  }
  const places = new Map<string, GeoPoint>();
  for (const { text, line } of rules) {
    const equalsAt = text.indexOf('=');
    if (equalsAt < 0) throw invalid('a place must have the form "region=latitude,longitude"', source, line, text);
    const region = text.slice(0, equalsAt).trim();
    const problem = regionProblem(region);
    if (problem !== undefined) throw invalid(`the region ${problem}`, source, line, text);
    if (places.has(region)) throw invalid('the region has a place already', source, line, text);
    const place = parsePlace(text.slice(equalsAt + 1));
    if (place === undefined) {
      const bounds = `-${MAX_LATITUDE} to ${MAX_LATITUDE} and -${MAX_LONGITUDE} to ${MAX_LONGITUDE}`;
      throw invalid(`a place must be latitude and longitude in degrees, ${bounds}`, source, line, text);
    }
    places.set(region, place);
  }
  return places;
}
