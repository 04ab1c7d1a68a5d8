/**
 * json-members: reads the JSON object of an administrative request, strictly. A member that is not known is an error that
 * names the nearest one: a misspelt `mids` would otherwise close nobody and answer success. The first problem is kept and
 * told at the end; until then a bad member reads as absent. null counts as absent.
 */
import { nearestName } from '../../config/index.js';
import { decodeBody, nameProblem } from '../../protocol/index.js';

/** A foreign value for an error text: short and on one line. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** A user id: a safe integer, or its decimal text. Larger ones are refused, not rounded. */
function readMid(value: unknown): number | undefined {
  const mid = typeof value === 'string' && /^-?\d{1,16}$/.test(value) ? Number(value) : value;
  return typeof mid === 'number' && Number.isSafeInteger(mid) ? mid : undefined;
}

export class JsonMembers {
  readonly #source: Readonly<Record<string, unknown>>;
  #problem: string | undefined;

  /**
   * @param bytes the request's body
   * @param known names of all members
   */
  constructor(bytes: Uint8Array, maxBytes: number, known: readonly string[]) {
    const body = decodeBody('json', bytes, maxBytes);
    const value = body.ok ? body.value : undefined;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    this.#source = isObject ? (value as Record<string, unknown>) : {};
    if (!body.ok) this.fail(body.error);
    else if (!isObject) this.fail(`the body must be a JSON object: body=${shown(value)}`);
    const unknown = Object.keys(this.#source).find((name) => !known.includes(name));
    if (unknown !== undefined) {
      this.fail(`${shown(unknown)} is no member of this request, the nearest is ${shown(nearestName(unknown, known))}`);
    }
  }

  /** What was wrong first; undefined where nothing was. */
  get problem(): string | undefined {
    return this.#problem;
  }

  fail(problem: string): void {
    this.#problem ??= problem;
  }

  /** Room ids or device keys. Absent: empty. */
  names(name: string, maxBytes: number): readonly string[] {
    const values = this.#array(name);
    for (const [index, value] of values.entries()) {
      const problem = nameProblem(`${name}[${index}]`, value, maxBytes);
      if (problem !== undefined) this.fail(problem);
    }
    return values as readonly string[];
  }

  /** User ids. Absent: empty. */
  mids(name: string): readonly number[] {
    return this.#array(name).map((value, index) => {
      const mid = readMid(value);
      if (mid === undefined) {
        const label = `${name}[${index}]`;
        this.fail(`${label} must be an integer, or its decimal text, up to 2^53-1: ${label}=${shown(value)}`);
      }
      return mid ?? 0;
    });
  }

  integer(name: string, min: number, max: number): number | undefined {
    const value = this.#raw(name);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    this.fail(`${name} must be an integer from ${min} to ${max}: ${name}=${shown(value)}`);
    return undefined;
  }

  flag(name: string): boolean | undefined {
    const value = this.#raw(name);
    if (value === undefined || typeof value === 'boolean') return value;
    this.fail(`${name} must be true or false: ${name}=${shown(value)}`);
    return undefined;
  }

  text(name: string, maxBytes: number): string | undefined {
    const value = this.#raw(name);
    if (value === undefined) return undefined;
    if (typeof value === 'string' && Buffer.byteLength(value) <= maxBytes) return value;
    this.fail(`${name} must be a string of at most ${maxBytes} bytes of UTF-8: ${name}=${shown(value)}`);
    return undefined;
  }

  #raw(name: string): unknown {
    return Object.hasOwn(this.#source, name) ? (this.#source[name] ?? undefined) : undefined;
  }

  #array(name: string): readonly unknown[] {
    const value = this.#raw(name);
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    this.fail(`${name} must be an array: ${name}=${shown(value)}`);
    return [];
  }
}
