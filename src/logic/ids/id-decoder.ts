/**
 * Takes ids of every scheme apart, with what the id itself holds; nothing is asked of a store.
 */
import { ANY_TAG, ID_SCHEME_NAMES, type IdSchemeName } from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import {
  allocateSonyflake,
  COUNTED_ID_END,
  decodeSnowflake,
  type IdParts,
  RuleGenerator,
  Sonyflake,
  UuidV4,
  UuidV7,
} from '../../id/index.js';
import { MemorySegmentStore } from '../../store/index.js';

/** What an id tells of itself as one scheme reads it. */
export interface IdReading {
  readonly scheme: IdSchemeName;
  /** Wall clock ms since 1970; undefined where the id holds no time. */
  readonly timestampMs?: number | undefined;
  readonly machineId?: number | undefined;
  /** Of its millisecond, its 10 ms, or its date. */
  readonly sequence?: number | undefined;
  /** Of a UUID version 7. */
  readonly counter?: number | undefined;
  /** The number of an id that counts, in decimal. */
  readonly value?: string | undefined;
  /** The tag whose template reads it. */
  readonly biz?: string | undefined;
}

export interface IdDecoderOptions {
  readonly epochMs: number;
  readonly templates: ReadonlyMap<string, string>;
  readonly utcOffsetMinutes: number;
  readonly nowMs: () => number;
}

/** How far ahead of now an id that is guessed at may lie: counting on over clocks that were set back. */
const PLAUSIBLE_AHEAD_MS = 86_400_000;

export class IdDecoder {
  readonly #options: IdDecoderOptions;
  readonly #sonyflake: Sonyflake;
  readonly #uuidV4 = new UuidV4();
  readonly #uuidV7 = new UuidV7();

  constructor(options: IdDecoderOptions) {
    this.#options = options;
    // Without a limit it issues nothing: it only reads.
    this.#sonyflake = new Sonyflake(allocateSonyflake({ epochMs: options.epochMs, machineId: 0 }));
  }

  /**
   * Read `id` as one of `scheme`.
   * @param biz of scheme rule: whose template; undefined tries those of all tags by name
   * @throws HalleyError ID_MALFORMED, ID_TAG_UNKNOWN
   */
  read(id: string, scheme: IdSchemeName, biz?: string): IdReading {
    switch (scheme) {
      case 'snowflake':
        return { scheme, ...decodeSnowflake(id, this.#options.epochMs) };
      case 'sonyflake':
        return { scheme, ...this.#sonyflake.decode(id) };
      case 'uuid-v4':
        return { scheme, ...timeOf(this.#uuidV4.decode(id)) };
      case 'uuid-v7': {
        const parts = this.#uuidV7.decode(id);
        return { scheme, ...timeOf(parts), counter: parts.counter };
      }
      case 'rule':
        return this.#readRule(id, biz);
      default:
        return { scheme, value: countedValue(id) };
    }
  }

  /** As `read`, of a scheme by its name. @throws HalleyError ID_SCHEME_UNKNOWN too */
  readNamed(id: string, name: string, biz?: string): IdReading {
    const scheme = ID_SCHEME_NAMES.find((each) => each === name);
    if (scheme === undefined) throw unknownScheme(name, ID_SCHEME_NAMES);
    return this.read(id, scheme, biz);
  }

  /**
   * Read `id` as every scheme that could have made it, the likeliest first.
   * @throws HalleyError ID_MALFORMED where none could
   */
  readAny(id: string, biz?: string): IdReading[] {
    const readings: IdReading[] = [];
    const latestMs = this.#options.nowMs() + PLAUSIBLE_AHEAD_MS;
    for (const scheme of ['uuid-v7', 'uuid-v4', 'rule', 'snowflake', 'sonyflake', 'segment'] as const) {
      const reading = attempt(() => this.read(id, scheme, biz));
      const isTimed = scheme === 'snowflake' || scheme === 'sonyflake';
      if (reading === undefined) continue;
      // Any number is a snowflake of some time; a small one lies at the very epoch.
      const { timestampMs = 0 } = reading;
      const isPlausible = timestampMs <= latestMs && timestampMs > this.#options.epochMs + PLAUSIBLE_AHEAD_MS;
      if (!isTimed || isPlausible) readings.push(reading);
    }
    if (readings.length === 0) throw malformed('no scheme reads this id', id);
    return readings;
  }

  #readRule(id: string, biz: string | undefined): IdReading {
    const { templates } = this.#options;
    const tags = biz !== undefined ? [biz] : [...templates.keys()].filter((tag) => tag !== ANY_TAG);
    let failure: unknown;
    for (const tag of tags) {
      const template = templates.get(tag) ?? templates.get(ANY_TAG);
      if (template === undefined) continue;
      try {
        const { timestampMs, sequence } = this.#ruleOf(template, tag).decode(id);
        return { scheme: 'rule', timestampMs, sequence, biz: tag };
      } catch (error) {
        failure = error;
      }
    }
    throw failure ?? new HalleyError('ID_TAG_UNKNOWN', 'no template is known for this tag (option ids.rules)', { biz });
  }

  /** One that is never drawn from: its store is empty and stays so. */
  #ruleOf(template: string, biz: string): RuleGenerator {
    const { utcOffsetMinutes } = this.#options;
    return new RuleGenerator({ ...ruleTextOf(template, biz), store: new MemorySegmentStore(), utcOffsetMinutes });
  }
}

/** A template takes the tag only where it shows it. */
export function ruleTextOf(template: string, biz: string): { readonly template: string; readonly tag: string } {
  return { template, tag: template.includes('{tag}') ? biz : '' };
}

function timeOf({ timestampMs }: IdParts): { readonly timestampMs: number | undefined } {
  return { timestampMs };
}

function countedValue(id: string): string {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(id) || Number(id) >= COUNTED_ID_END) {
    throw malformed('an id that counts is a decimal number below 2^53 - 1', id);
  }
  return id;
}

function attempt(read: () => IdReading): IdReading | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof HalleyError) return undefined;
    throw error;
  }
}

export function unknownScheme(name: string, known: readonly string[]): HalleyError {
  return new HalleyError('ID_SCHEME_UNKNOWN', `the schemes are ${known.join(', ')}`, { scheme: name.slice(0, 60) });
}

function malformed(expectation: string, id: string): HalleyError {
  return new HalleyError('ID_MALFORMED', expectation, { id: id.slice(0, 60) });
}
