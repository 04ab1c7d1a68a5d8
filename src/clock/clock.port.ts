/**
 * The port through which Halley asks for the time, so that a test can decide what time it is.
 */
export interface Clock {
  /** Wall-clock time: whole milliseconds since 1970. It may step in both directions when the host is corrected. */
  nowMs(): number;
  /** Milliseconds with a fraction since some fixed moment; never decreases. For durations and deadlines. */
  monotonicMs(): number;
}
