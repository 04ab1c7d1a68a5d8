/**
 * Reports bad commands of the push channel. Every node reads every command, so every node finds the same fault: the first that
 * sets a key named by the command's hash reports it, on `<prefix>:push:errors` and in its log.
 *
 *   {"error": "op must be an integer ...", "producer": "billing", "sample": "{\"rooom\"...", "at": 1767225600000}
 *
 * `producer` is there where the command was an object with such a string; `sample` is its beginning as text; `at` is wall-clock ms.
 *
 * Threads: control thread only.
 * Guarantees: one report per command and window over the whole cluster. Bounded: above `MAX_PER_SECOND` faults a second they
 *   are counted only, so that a broken producer does not turn into commands and log lines. Redis away: the log, on every node.
 */
import { createHash } from 'node:crypto';
import { type Clock, systemClock } from '../../clock/index.js';
import { DiscardCounter } from '../../errors/index.js';
import { decodeBody } from '../../protocol/index.js';
import type { PushErrorReporter } from '../../push/index.js';
import { type Logger, type StormGuard, stormGuard } from '../../telemetry/index.js';
import type { RedisLink } from './redis-link.js';

/** How long a command that was reported is not reported again. */
const WINDOW_MS = 60_000;
const MAX_PER_SECOND = 50;
const SAMPLE_BYTES = 256;
const PRODUCER_CHARACTERS = 128;
/** A larger command is not decoded again for its producer. */
const DECODED_BYTES = 65_536;

export class RedisBusErrors implements PushErrorReporter {
  readonly discards = new DiscardCounter();
  readonly #link: RedisLink;
  readonly #clock: Clock;
  readonly #log: StormGuard;
  #secondStartMs = Number.NEGATIVE_INFINITY;
  #countInSecond = 0;
  #suppressedCount = 0;

  constructor(link: RedisLink, log: Logger, clock: Clock = systemClock) {
    this.#link = link;
    this.#clock = clock;
    this.#log = stormGuard({ target: log, nowMs: () => clock.monotonicMs() });
  }

  /** Faults that were counted only. */
  get suppressedCount(): number {
    return this.#suppressedCount;
  }

  report(bytes: Uint8Array, error: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#secondStartMs >= 1_000) {
      this.#secondStartMs = nowMs;
      this.#countInSecond = 0;
    }
    this.#countInSecond += 1;
    if (this.#countInSecond > MAX_PER_SECOND) {
      this.#suppressedCount += 1;
      return;
    }
    const producer = producerOf(bytes);
    const sample = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, SAMPLE_BYTES)).toString();
    const report = { error, ...(producer === undefined ? {} : { producer }), sample, at: this.#clock.nowMs() };
    void this.#reportOnce(createHash('sha256').update(bytes).digest('hex'), report);
  }

  async #reportOnce(hash: string, report: Readonly<Record<string, unknown>>): Promise<void> {
    const { commands, keys } = this.#link;
    try {
      const isFirst = await commands.set(keys.single(`push:error:${hash}`), '1', 'PX', WINDOW_MS, 'NX');
      if (isFirst !== 'OK') return;
      this.#log.logger.warn(report, 'a producer published a bad push');
      await commands.publish(keys.pushErrorsChannel(), JSON.stringify(report));
    } catch (error) {
      this.discards.ignore(error, 'report of a bad push');
      this.#log.logger.warn(report, 'a producer published a bad push; Redis could not be told');
    }
  }
}

/** Who says that it sent this. */
function producerOf(bytes: Uint8Array): string | undefined {
  const first = bytes[0] ?? 0;
  const body = decodeBody(first >= 0x80 ? 'msgpack' : 'json', bytes, DECODED_BYTES);
  if (!body.ok || typeof body.value !== 'object' || body.value === null) return undefined;
  const { producer } = body.value as { readonly producer?: unknown };
  return typeof producer === 'string' ? producer.slice(0, PRODUCER_CHARACTERS) : undefined;
}
