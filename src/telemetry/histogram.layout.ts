/**
 * Layout of a histogram: which bucket a value falls into, and what a row holds.
 *
 *   value in microseconds, 31 bits     0 0 0 1 b b b b b x x x x x ... x
 *                                            ^ ^-------^ ^-----------^
 *                               leading bit -+ 5 bits:    ignored: under 1/32 of the value
 *                               = octave       step
 *
 * Values below 32 have a bucket each. Above, every octave (power of two) is cut into 32 equal steps, so that a bucket is at
 * most 1/32 of its values wide. 27 runs of 32 buckets reach to 2^31 - 1 us, about 36 minutes.
 *
 * Source: the log-linear buckets of HdrHistogram (G. Tene), with the number of steps fixed.
 *
 * A row: bucket counts, then sum (us) and maximum (us).
 */
export const STEP_BITS = 5;
const STEPS = 1 << STEP_BITS;
export const MAX_VALUE_US = 0x7fffffff;

export const BUCKET_COUNT = (31 - STEP_BITS + 1) * STEPS;
export const SUM_CELL = BUCKET_COUNT;
export const MAX_CELL = BUCKET_COUNT + 1;
export const ROW_CELLS = BUCKET_COUNT + 2;

/** The bucket of a whole value of 0 to MAX_VALUE_US. */
export function bucketOf(valueUs: number): number {
  if (valueUs < STEPS) return valueUs;
  const octaveShift = 31 - Math.clz32(valueUs) - STEP_BITS;
  return ((octaveShift + 1) << STEP_BITS) + (valueUs >>> octaveShift) - STEPS;
}

/** The largest value of a bucket. */
export function bucketEndUs(bucket: number): number {
  if (bucket < STEPS) return bucket;
  const octaveShift = (bucket >>> STEP_BITS) - 1;
  // In doubles: the last bucket ends at 2^31 - 1, and its exclusive end does not fit 31 bits.
  return (STEPS + (bucket & (STEPS - 1)) + 1) * 2 ** octaveShift - 1;
}
