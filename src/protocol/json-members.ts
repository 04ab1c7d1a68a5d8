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

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

/** @param text a JSON object that JSON.parse has accepted; anything else gives nonsense, but ends */
export function jsonMembers(text: string): JsonMember[] {
  const members: JsonMember[] = [];
  let at = skipSpace(text, text.indexOf('{') + 1);
  while (text.charCodeAt(at) === QUOTE) {
    const nameEnd = endOfString(text, at);
    const valueStart = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const valueEnd = endOfValue(text, valueStart);
    members.push({ name: jsonString(text.slice(at, nameEnd)), raw: text.slice(valueStart, valueEnd) });
    at = skipSpace(text, skipSpace(text, valueEnd) + 1);
  }
  return members;
}

/** The text of a JSON string as written, quotes included. */
export function jsonString(raw: string): string {
  return raw.includes('\\') ? JSON.parse(raw) : raw.slice(1, -1);
}

/** The elements of a JSON array of numbers and nulls as written: none of them can hold a comma. */
export function jsonScalars(raw: string): string[] {
  const inner = raw.slice(1, -1).trim();
  return inner === '' ? [] : inner.split(',').map((element) => element.trim());
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/** True for `{` and `[`, which differ in one bit. */
function isOpening(code: number): boolean {
  return (code | 0x20) === 0x7b;
}

/** True for `}` and `]`, which differ in one bit. */
function isClosing(code: number): boolean {
  return (code | 0x20) === 0x7d;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** Position behind the closing quote of the string that opens at `from`. */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) break;
    at += code === BACKSLASH ? 2 : 1;
  }
  return at + 1;
}

function endOfValue(text: string, from: number): number {
  const first = text.charCodeAt(from);
  if (first === QUOTE) return endOfString(text, from);
  if (isOpening(first)) return endOfContainer(text, from);
  let at = from;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === COMMA || isClosing(code) || isSpace(code)) break;
    at++;
  }
  return at;
}

function endOfContainer(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
      continue;
    }
    at++;
    if (isOpening(code)) depth++;
    else if (isClosing(code) && --depth === 0) break;
  }
  return at;
}
