/**
 * The id service: every scheme by its name, for any number of business tags, behind HTTP (`GET /ids`) and gRPC.
 *
 * Schemes of the clock have one generator each, whatever the tag; schemes that count have one per tag, made with its first request.
 *
 * Threads: the control thread. Draws are synchronous, so requests of one turn of the loop share a buffered range.
 * Guarantees: servers on one store never give an id of one scheme (and tag) twice: ranges by the store, machine ids by claims in it.
 *   Message ids of nodes are another sequence. A reply holds fewer ids than were asked for only where the store went away or the
 *   tag's maximum was reached after some were drawn; the next request then gets the error. At most `maxTagCount` generators.
 *   A request waits for the store at most its own deadline; ids that a client did not wait for are skipped.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  ANY_TAG,
  ID_SCHEME_NAMES,
  type IdMachineRule,
  type IdSchemeName,
  type IdTagRule,
  isIdTag,
} from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import {
  type IdGenerator,
  OffsetSource,
  RangeGenerator,
  type RangeSource,
  RuleGenerator,
  SegmentSource,
  type SegmentStore,
  UuidV4,
  UuidV7,
} from '../../id/index.js';
import type { Logger } from '../../telemetry/index.js';
import { IdDecoder, type IdReading, ruleTextOf, unknownScheme } from './id-decoder.js';
import { MachineIds } from './machine-ids.js';
import { BoundedSource, DEFAULT_STEP_COUNT, endIdOf, settleTagCounter } from './tag-counter.js';

export interface IdServiceOptions {
  readonly schemes: readonly IdSchemeName[];
  readonly machine: IdMachineRule;
  /** Of snowflakes and sonyflakes; a multiple of 10. */
  readonly epochMs: number;
  readonly leaseMs: number;
  /** Rules of business tags; empty: every tag is known. */
  readonly tags: readonly IdTagRule[];
  /** Templates of scheme `rule` by tag. */
  readonly templates: ReadonlyMap<string, string>;
  readonly utcOffsetMinutes: number;
  /** Of scheme `offset`, 1 to n; 0: none. */
  readonly master: number;
  /** Most ids of one request. */
  readonly maxCount: number;
  readonly maxTagCount: number;
  /** Claim machine ids at the start, not with the first draw. Where they are not leased they are claimed at the start anyway. */
  readonly isEager: boolean;
  /** Ranges of just so many ids, nothing fetched ahead: for a command that draws once. Default: each tag's step. */
  readonly stepCount?: number | undefined;
}

export interface IdServiceParts {
  /** Shared by all servers; stays its owner's. */
  readonly store: SegmentStore;
  /** Ranges of a tag by Redis' INCR; undefined where there is no Redis. */
  readonly incrSource: ((biz: string) => RangeSource) | undefined;
  readonly log: Logger;
  /** Wall clock. Default Date.now. */
  readonly nowMs?: () => number;
}

export interface IdRequest {
  readonly scheme: string;
  /** Business tag; schemes of the clock may do without. */
  readonly biz: string;
  readonly count: number;
}

export interface IdBatch {
  readonly scheme: IdSchemeName;
  readonly biz: string;
  /** Decimal, UUID text, or as the rule prints them; at least one. */
  readonly ids: readonly string[];
}

/** By how much the rate may raise a step. */
const STEP_GROWTH = 100;
const MAX_STEP_COUNT = 1_000_000;
/** Ids drawn in one turn of the loop: a few ms. */
const IDS_PER_TURN = 4_096;

export class IdService {
  readonly #options: IdServiceOptions;
  readonly #parts: IdServiceParts;
  readonly #rules: ReadonlyMap<string, IdTagRule>;
  readonly #machines: MachineIds;
  readonly #decoder: IdDecoder;
  readonly #uuids = { 'uuid-v4': new UuidV4(), 'uuid-v7': new UuidV7() } as const;
  readonly #generators = new Map<string, Promise<IdGenerator>>();
  #isClosed = false;

  private constructor(options: IdServiceOptions, parts: IdServiceParts) {
    const { store, log } = parts;
    this.#options = options;
    this.#parts = parts;
    this.#rules = new Map(options.tags.map((rule) => [rule.tag, rule]));
    const { machine, epochMs, leaseMs } = options;
    this.#machines = new MachineIds({ store, source: machine, epochMs, leaseMs, log });
    this.#decoder = new IdDecoder({ ...options, nowMs: parts.nowMs ?? Date.now });
  }

  /**
   * Check the templates, and claim the machine ids that are due.
   * @throws HalleyError ID_BAD_TEMPLATE, ID_MACHINE_CLASH and what else claiming throws; ID_SCHEME_UNKNOWN where a scheme that was
   *   asked for by name cannot be given out here
   */
  static async open(options: IdServiceOptions, parts: IdServiceParts): Promise<IdService> {
    const service = new IdService(options, parts);
    // The text is judged when a generator is made: better now than with the first request.
    for (const [tag, template] of options.templates) service.#makeRule(tag === ANY_TAG ? 'any' : tag, template);
    if (options.schemes.length < ID_SCHEME_NAMES.length)
      for (const scheme of options.schemes) service.#requireGiven(scheme);
    if (options.isEager || options.machine.kind !== 'lease') {
      const due = (['snowflake', 'sonyflake'] as const).filter((scheme) => options.schemes.includes(scheme));
      const claims = await Promise.allSettled(due.map((scheme) => service.#machines.generatorOf(scheme)));
      const failed = claims.find((claim) => claim.status === 'rejected');
      if (failed !== undefined) {
        await service.close();
        throw failed.reason;
      }
    }
    return service;
  }

  /** Schemes that this server gives out. */
  get schemes(): readonly IdSchemeName[] {
    return this.#options.schemes.filter((scheme) => this.#lackOf(scheme) === undefined);
  }

  get maxCount(): number {
    return this.#options.maxCount;
  }

  /**
   * The next ids.
   * @throws HalleyError, of the kinds that `idFailureOf` tells apart
   */
  async next({ scheme: name, biz, count }: IdRequest): Promise<IdBatch> {
    if (this.#isClosed) throw new HalleyError('ID_SERVICE_CLOSED', 'the id service is shutting down');
    const scheme = this.#requireScheme(name);
    const { maxCount } = this.#options;
    if (!Number.isInteger(count) || count < 1 || count > maxCount) {
      throw new HalleyError('ID_BAD_COUNT', `1 to ${maxCount} ids are given out at a time (option ids.max_count)`, {
        count,
      });
    }
    const generator = await this.#generatorOf(scheme, biz);
    const ids: string[] = [];
    try {
      await drawInto(ids, count, generator);
    } catch (error) {
      // What was drawn is served; who asks again gets the reason.
      if (ids.length === 0) throw this.#named(error, scheme, biz);
    }
    return { scheme, biz, ids };
  }

  /**
   * Take an id apart: as one of `scheme`, or as every scheme that could have made it.
   * @throws HalleyError ID_MALFORMED, ID_SCHEME_UNKNOWN, ID_TAG_UNKNOWN
   */
  decode(id: string, scheme?: string, biz?: string): readonly IdReading[] {
    return scheme === undefined ? this.#decoder.readAny(id, biz) : [this.#decoder.readNamed(id, scheme, biz)];
  }

  /** Generators that stand for a tag. */
  get tagCount(): number {
    return this.#generators.size;
  }

  /** Give nothing out any more, and free the machine ids. The store stays open. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#generators.clear();
    await this.#machines.close();
  }

  #requireScheme(name: string): IdSchemeName {
    const scheme = this.#options.schemes.find((each) => each === name);
    if (scheme === undefined) throw unknownScheme(name, this.schemes);
    this.#requireGiven(scheme);
    return scheme;
  }

  #requireGiven(scheme: IdSchemeName): void {
    const lack = this.#lackOf(scheme);
    if (lack !== undefined) throw new HalleyError('ID_SCHEME_UNKNOWN', lack, { scheme });
  }

  /** What a scheme needs and this server has not. */
  #lackOf(scheme: IdSchemeName): string | undefined {
    if (scheme === 'redis-incr' && this.#parts.incrSource === undefined) return 'scheme redis-incr needs redis';
    if (scheme === 'offset' && this.#options.master === 0) return 'scheme offset needs ids.master';
    if (scheme === 'rule' && this.#options.templates.size === 0) return 'scheme rule needs ids.rules';
    return undefined;
  }

  #generatorOf(scheme: IdSchemeName, biz: string): Promise<IdGenerator> | IdGenerator {
    if (scheme === 'snowflake' || scheme === 'sonyflake') return this.#machines.generatorOf(scheme);
    if (scheme === 'uuid-v4' || scheme === 'uuid-v7') return this.#uuids[scheme];
    const key = `${scheme} ${biz}`;
    const standing = this.#generators.get(key);
    if (standing !== undefined) return standing;
    this.#requireTag(scheme, biz);
    const { maxTagCount } = this.#options;
    if (this.#generators.size >= maxTagCount) {
      throw new HalleyError('ID_TOO_MANY_TAGS', `at most ${maxTagCount} generators are kept (option ids.max_tags)`, {
        scheme,
        biz,
      });
    }
    const made = this.#make(scheme, biz);
    this.#generators.set(key, made);
    // A store that is away must not use up a place; everybody who awaits it gets the failure.
    made.catch(() => {
      if (this.#generators.get(key) === made) this.#generators.delete(key);
    });
    return made;
  }

  async #make(scheme: 'segment' | 'offset' | 'redis-incr' | 'rule', biz: string): Promise<IdGenerator> {
    const { store, incrSource } = this.#parts;
    const rule = this.#ruleOf(biz);
    if (scheme === 'rule') return this.#makeRule(biz, this.#templateOf(biz) ?? '');
    if (scheme === 'offset') {
      const source = new OffsetSource({ store, tag: biz, master: this.#options.master });
      return this.#makeRange(scheme, new BoundedSource(source, endIdOf(rule)), rule?.stepCount ?? DEFAULT_STEP_COUNT);
    }
    if (scheme === 'redis-incr') {
      const source = new BoundedSource((incrSource as NonNullable<typeof incrSource>)(biz), endIdOf(rule));
      return this.#makeRange(scheme, source, rule?.stepCount ?? DEFAULT_STEP_COUNT);
    }
    const { counterTag, stepCount, endId } = await settleTagCounter(store, biz, rule);
    return this.#makeRange(scheme, new SegmentSource({ store, tag: counterTag, endId }), stepCount);
  }

  #makeRange(scheme: IdSchemeName, source: RangeSource, tagStepCount: number): RangeGenerator {
    const minStepCount = this.#options.stepCount ?? tagStepCount;
    const growth = this.#options.stepCount === undefined ? STEP_GROWTH : 1;
    const maxStepCount = Math.max(minStepCount, Math.min(MAX_STEP_COUNT, minStepCount * growth));
    return new RangeGenerator({ scheme, source, minStepCount, maxStepCount });
  }

  #makeRule(biz: string, template: string): RuleGenerator {
    const { utcOffsetMinutes, stepCount } = this.#options;
    return new RuleGenerator({
      ...ruleTextOf(template, biz),
      store: this.#parts.store,
      utcOffsetMinutes,
      ...(stepCount === undefined ? {} : { minStepCount: stepCount, maxStepCount: stepCount }),
    });
  }

  #ruleOf(biz: string): IdTagRule | undefined {
    return this.#rules.get(biz) ?? this.#rules.get(ANY_TAG);
  }

  #templateOf(biz: string): string | undefined {
    return this.#options.templates.get(biz) ?? this.#options.templates.get(ANY_TAG);
  }

  #requireTag(scheme: IdSchemeName, biz: string): void {
    if (!isIdTag(biz)) {
      throw new HalleyError('ID_BAD_TAG', 'a business tag is 1 to 64 of A-Z a-z 0-9 - _ . / :', {
        biz: biz.slice(0, 60),
      });
    }
    if (
      scheme === 'rule'
        ? this.#templateOf(biz) !== undefined
        : this.#rules.size === 0 || this.#ruleOf(biz) !== undefined
    ) {
      return;
    }
    const option = scheme === 'rule' ? 'ids.rules' : 'ids.tags';
    throw new HalleyError('ID_TAG_UNKNOWN', `this business tag is not known (option ${option})`, { biz });
  }

  /** The end of a counter in the words of its user. */
  #named(error: unknown, scheme: IdSchemeName, biz: string): unknown {
    if (!(error instanceof HalleyError) || error.code !== 'ID_COUNTER_ENDED') return error;
    const sentence =
      'the tag has given out all its ids: its maximum is reached (option ids.tags, or the digits of its rule)';
    return new HalleyError('ID_COUNTER_ENDED', sentence, { scheme, biz }, error);
  }
}

/** Draw `count` ids into `ids`, waiting where nothing is buffered. Rejects as `ready` does; what was drawn stays in `ids`. */
async function drawInto(ids: string[], count: number, generator: IdGenerator): Promise<void> {
  for (;;) {
    const turnEnd = Math.min(count, ids.length + IDS_PER_TURN);
    while (ids.length < turnEnd) {
      const id = generator.tryNext();
      if (id === undefined) break;
      ids.push(String(id));
    }
    if (ids.length === count) return;
    if (ids.length < turnEnd) await generator.ready();
    else await nextTurn();
  }
}
