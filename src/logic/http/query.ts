/**
 * query: a query string with repeated names kept apart, decoded as Go's net/url does: `+` is a space, a pair with a broken
 * percent escape is left out, a name without `=` has the empty value, a comma is an ordinary character.
 */

const BROKEN_ESCAPE = /%(?![0-9a-fA-F]{2})/;

/** The decoded text; undefined where an escape is broken. Bytes that are not UTF-8 become U+FFFD. */
function decode(raw: string): string | undefined {
  const text = raw.includes('+') ? raw.replaceAll('+', ' ') : raw;
  if (!text.includes('%')) return text;
  if (BROKEN_ESCAPE.test(text)) return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    // Well-formed escapes of bytes that are not UTF-8: latin1 keeps bytes apart, TextDecoder replaces the wrong ones.
    const utf8 = Buffer.from(text, 'utf8').toString('latin1');
    const bytes = utf8.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    return Buffer.from(bytes, 'latin1').toString('utf8');
  }
}

export class Query {
  readonly #valuesByName = new Map<string, string[]>();

  /** @param raw what stands behind the `?`, or the empty text */
  constructor(raw: string) {
    for (const pair of raw === '' ? [] : raw.split('&')) {
      if (pair === '') continue;
      const equalsAt = pair.indexOf('=');
      const name = decode(equalsAt < 0 ? pair : pair.slice(0, equalsAt));
      const value = equalsAt < 0 ? '' : decode(pair.slice(equalsAt + 1));
      if (name === undefined || value === undefined) continue;
      const values = this.#valuesByName.get(name);
      if (values === undefined) this.#valuesByName.set(name, [value]);
      else values.push(value);
    }
  }

  /** The first value; undefined where the name is absent. */
  first(name: string): string | undefined {
    return this.#valuesByName.get(name)?.[0];
  }

  /** All values in their order; empty where the name is absent. */
  all(name: string): readonly string[] {
    return this.#valuesByName.get(name) ?? [];
  }
}
