/**
 * The body of a message as one line for a person.
 */
import { decodeUtf8 } from '../protocol/index.js';

const MAX_SHOWN_CHARACTERS = 600;
const MAX_SHOWN_HEX_BYTES = 48;
/** A longer body is shown as it came: formatting what nobody reads to the end is not worth a frame. */
const MAX_JSON_CHARACTERS = 8192;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it replaces
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f]+/g;

/** JSON with a space where one helps, other text on one line, anything else in hexadecimal. */
export function bodyLine(body: Uint8Array): string {
  const text = decodeUtf8(body);
  if (text === undefined) return hexLine(body);
  return cut(jsonLine(text) ?? text.replace(CONTROL_CHARACTERS, ' '));
}

function cut(line: string): string {
  return line.length > MAX_SHOWN_CHARACTERS ? `${line.slice(0, MAX_SHOWN_CHARACTERS)}…` : line;
}

/** Undefined for a text that is no JSON object or array: a lone number or string reads best as it is. */
function jsonLine(text: string): string | undefined {
  const first = text.trimStart()[0];
  if ((first !== '{' && first !== '[') || text.length > MAX_JSON_CHARACTERS) return undefined;
  try {
    JSON.parse(text);
  } catch {
    // Not JSON, which is no error: a body is whatever the sender likes.
    return undefined;
  }
  return spaced(text);
}

/** Insignificant white space out, one space behind every comma and colon. From the text, so that long numbers survive. */
function spaced(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|\s+|[:,]/g, (part) => {
    if (part === ':' || part === ',') return `${part} `;
    return part.startsWith('"') ? part : '';
  });
}

function hexLine(body: Uint8Array): string {
  const shown = body.subarray(0, MAX_SHOWN_HEX_BYTES);
  const hex = Array.from(shown, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `${body.length} bytes: ${hex}${body.length > shown.length ? ' …' : ''}`;
}
