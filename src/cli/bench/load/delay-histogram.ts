/**
 * Delays of one process in microseconds, small enough to be told to another and exact enough to compare servers by.
 *
 * Guarantees: a percentile is never below the true one and above it by at most 1/256 (0.4 %), and never above the largest
 *   value recorded. 16 KiB, whatever is recorded.
 * Layout: values below 256 have a bucket each; above, every power of two is cut into 256 equal steps, up to 2^31 - 1 us.
 * Source: HdrHistogram (G. Tene). telemetry/ has the same form with 32 steps, too coarse to hold 85 ms against 87.
 */
const STEP_BITS = 8;
const STEP_COUNT = 1 << STEP_BITS;
const BUCKET_COUNT = (31 - STEP_BITS + 1) * STEP_COUNT;
const MAX_VALUE_US = 0x7fffffff;

/** What one process tells another: buckets that hold something, as pairs of bucket and count, and the largest value. */
export interface DelayCounts {
  readonly pairs: readonly number[];
  readonly maxUs: number;
}

function bucketOf(valueUs: number): number {
  if (valueUs < STEP_COUNT) return valueUs;
  const octaveShift = 31 - Math.clz32(valueUs) - STEP_BITS;
  return ((octaveShift + 1) << STEP_BITS) + (valueUs >>> octaveShift) - STEP_COUNT;
}

function bucketEndUs(bucket: number): number {
  if (bucket < STEP_COUNT) return bucket;
  const octaveShift = (bucket >>> STEP_BITS) - 1;
  return (STEP_COUNT + (bucket & (STEP_COUNT - 1)) + 1) * 2 ** octaveShift - 1;
}

export class DelayHistogram {
  readonly #countByBucket = new Float64Array(BUCKET_COUNT);
  #count = 0;
  #maxUs = 0;

  /** Record one delay; below 0 counts as 0, fractions are rounded. */
  record(valueUs: number): void {
    const wholeUs = valueUs >= MAX_VALUE_US ? MAX_VALUE_US : valueUs > 0 ? Math.round(valueUs) : 0;
    this.#countByBucket[bucketOf(wholeUs)]! += 1;
    this.#count += 1;
    if (wholeUs > this.#maxUs) this.#maxUs = wholeUs;
  }

  reset(): void {
    this.#countByBucket.fill(0);
    this.#count = 0;
    this.#maxUs = 0;
  }

  counts(): DelayCounts {
    const pairs: number[] = [];
    this.#countByBucket.forEach((count, bucket) => {
      if (count > 0) pairs.push(bucket, count);
    });
    return { pairs, maxUs: this.#maxUs };
  }

  /** Add what another process recorded. */
  add({ pairs, maxUs }: DelayCounts): void {
    for (let index = 0; index < pairs.length; index += 2) {
      this.#countByBucket[pairs[index]!]! += pairs[index + 1]!;
      this.#count += pairs[index + 1]!;
    }
    this.#maxUs = Math.max(this.#maxUs, maxUs);
  }

  get count(): number {
    return this.#count;
  }

  get maxUs(): number {
    return this.#maxUs;
  }

  /** The delay in microseconds that `percentile` (above 0, up to 100) per cent do not exceed; 0 where nothing was recorded. */
  percentileUs(percentile: number): number {
    const wantedCount = Math.ceil((percentile / 100) * this.#count);
    let seenCount = 0;
    for (let bucket = 0; bucket < BUCKET_COUNT && this.#count > 0; bucket++) {
      seenCount += this.#countByBucket[bucket]!;
      if (seenCount >= wantedCount) return Math.min(bucketEndUs(bucket), this.#maxUs);
    }
    return this.#maxUs;
  }
}
