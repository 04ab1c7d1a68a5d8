/**
 * Which pages may connect: the origins that a browser's Origin header may name.
 *
 * An entry is an origin as browsers write it (`https://example.com`, with a port where it is not the scheme's own), or one
 * whose host begins with `*.`: any name below it, of any depth, and not the name itself. A host without a scheme stands for
 * both schemes, `*` for all. A request without an Origin does not come from a page of another site and is let through: this
 * list protects users of browsers, it authenticates nobody.
 *
 * Threads: any; an instance never changes.
 * Guarantees: an empty list allows everything. `null` (sandboxed frames, files) is an origin like any other.
 */
import { HalleyError } from '../../errors/index.js';

const SCHEMES = ['http://', 'https://'] as const;
const ENTRY = /^(?:(https?):\/\/)?(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/;
const DEFAULT_PORT: Readonly<Record<string, string>> = { 'http://': '80', 'https://': '443' };

/** What is wrong with the entry, as the end of a sentence; undefined where nothing is. */
export function originProblem(entry: string): string | undefined {
  const text = entry.toLowerCase();
  if (text === '*' || text === 'null' || ENTRY.test(text)) return undefined;
  return 'must be an origin such as https://example.com, https://*.example.com, or *';
}

/**
 * The entries as they are. For the start of a node: a bucket could only die of a bad one.
 *
 * @throws HalleyError ORIGIN_INVALID
 */
export function checkOrigins(entries: readonly string[]): readonly string[] {
  new OriginList(entries);
  return entries;
}

export class OriginList {
  readonly #allowsAll: boolean;
  readonly #exact = new Set<string>();
  /** Scheme, and what the rest must end in: `https://` and `.example.com:8443`. */
  readonly #below: { readonly scheme: string; readonly suffix: string }[] = [];

  /** @throws HalleyError ORIGIN_INVALID */
  constructor(entries: readonly string[]) {
    this.#allowsAll = entries.length === 0 || entries.includes('*');
    for (const [index, entry] of entries.entries()) this.#add(entry.toLowerCase(), index);
  }

  /** @param origin the header's value, '' where it is missing */
  allows(origin: string): boolean {
    if (this.#allowsAll || origin === '') return true;
    const text = origin.toLowerCase();
    if (this.#exact.has(text)) return true;
    return this.#below.some(
      ({ scheme, suffix }) =>
        text.startsWith(scheme) && text.endsWith(suffix) && text.length > scheme.length + suffix.length,
    );
  }

  #add(entry: string, index: number): void {
    const problem = originProblem(entry);
    if (problem !== undefined) {
      throw new HalleyError('ORIGIN_INVALID', `each of limits.allowed_origins ${problem}`, { item: index + 1, entry });
    }
    // Without its own case, null would be a host of that name.
    const match = entry === 'null' ? null : ENTRY.exec(entry);
    if (match === null) {
      this.#exact.add(entry);
      return;
    }
    const [, scheme, wildcard, host = '', port] = match;
    for (const prefix of scheme === undefined ? SCHEMES : ([`${scheme}://`] as const)) {
      // Browsers leave the scheme's own port out.
      const place = port === undefined || port === DEFAULT_PORT[prefix] ? host : `${host}:${port}`;
      if (wildcard === undefined) this.#exact.add(prefix + place);
      else this.#below.push({ scheme: prefix, suffix: `.${place}` });
    }
  }
}
