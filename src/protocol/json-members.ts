/**
 * The members of a JSON object in document order, values still as text.
 *
 * Why not just JSON.parse: Go's encoding/json, whose rules the auth body follows, treats members one by one in the order
 * written (`{"mid":1,"MID":2,"mid":null}` is 2), and looks at how a number is written (1.0 and 1e3 are no integers).
 * JSON.parse forgets both. Its verdict on the syntax is used, though: this walk runs on text it has accepted.
 */

export interface JsonMember {
  readonly name: string;
  /** The value as written, without white space around it. */
  readonly raw: string;
}

/** @param text a JSON object that JSON.parse has accepted; anything else gives nonsense, but ends */
export function jsonMembers(text: string): JsonMember[] {
  const members: JsonMember[] = [];
  let at = skipSpace(text, text.indexOf('{') + 1);
  while (at < text.length && text[at] === '"') {
    const nameEnd = endOfString(text, at);
    const valueStart = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const valueEnd = endOfValue(text, valueStart);
    members.push({ name: JSON.parse(text.slice(at, nameEnd)), raw: text.slice(valueStart, valueEnd) });
    at = skipSpace(text, skipSpace(text, valueEnd) + 1);
  }
  return members;
}

/** The elements of a JSON array of numbers and nulls as written: none of them can hold a comma. */
export function jsonScalars(raw: string): string[] {
  const inner = raw.slice(1, -1).trim();
  return inner === '' ? [] : inner.split(',').map((element) => element.trim());
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\n' || text[at] === '\r') at++;
  return at;
}

/** Position behind the closing quote of the string that opens at `from`. */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

function endOfValue(text: string, from: number): number {
  const first = text[from];
  if (first === '"') return endOfString(text, from);
  if (first === '{' || first === '[') return endOfContainer(text, from);
  let at = from;
  while (at < text.length && !' \t\n\r,}'.includes(text[at]!)) at++;
  return at;
}

function endOfContainer(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const character = text[at];
    if (character === '"') {
      at = endOfString(text, at);
      continue;
    }
    at++;
    if (character === '{' || character === '[') depth++;
    else if ((character === '}' || character === ']') && --depth === 0) break;
  }
  return at;
}
