/**
 * go-text: the parts of Go's strconv whose texts goim's clients see: ParseInt in base 10 and Quote.
 */

/** Go's IsPrint is letters, marks, numbers, punctuation, symbols and the ASCII space: all but these. */
const NOT_PRINTABLE = /[\p{C}\p{Z}"\\]/gu;
const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

/** strconv.Quote. */
export function goQuote(text: string): string {
  const escaped = text.replace(NOT_PRINTABLE, (char) => {
    if (char === ' ') return char;
    const short = SHORT_ESCAPES[char];
    if (short !== undefined) return short;
    const code = char.codePointAt(0) as number;
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`;
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return `"${escaped}"`;
}

const DECIMAL = /^[+-]?[0-9]+$/;

/**
 * strconv.ParseInt(text, 10, bits), as gin calls it: the empty text is 0.
 * @param max largest value; the smallest is -max - 1, or -max for MAX_SAFE_INTEGER
 * @returns the number, or Go's error text
 */
export function goParseInt(text: string, max: number): number | string {
  if (text === '') return 0;
  if (!DECIMAL.test(text)) return `strconv.ParseInt: parsing ${goQuote(text)}: invalid syntax`;
  const value = Number(text);
  const min = max === Number.MAX_SAFE_INTEGER ? -max : -max - 1;
  if (value > max || value < min) return `strconv.ParseInt: parsing ${goQuote(text)}: value out of range`;
  return value === 0 ? 0 : value;
}
