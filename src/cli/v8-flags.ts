/**
 * The flags of V8 that the program sets for its process, before any worker starts. A library must not: they are the process's.
 *
 * `--semi-space-growth-factor=1` keeps the young generation of the main thread small. V8 lets it grow to two spaces of 16 MB under
 * a connect storm and gives little of that back; at 15,000 channels this alone is 1 KB per channel. Workers have a limit of
 * their own (bucket.young_heap_mb).
 *
 * `--always-sparkplug --ticks-before-optimization --max-bytecode-size-for-early-opt` compile every function once, plainly, and
 * optimize it some twenty times later, for the first seconds of a process: that is when everybody whose node was restarted comes
 * back at once, and in a storm of 10,000 connects the optimizing compiler of each thread took a sixth of the CPU for code that ran
 * for a second (115 us a connect became 91, bench:e2e connect). Left on for good it costs what runs for long: 35 % of a push by
 * key and 20 % of an echo were still unoptimized code ten seconds later (bench:e2e keys, echo), so V8's own numbers return after
 * the storm. Not by `--interrupt-budget`: what a function was given of it in the storm it spends first, for up to half a minute.
 */
import { setFlagsFromString } from 'node:v8';

/** Node 20's. What is set for the storm was measured there. */
const TIERING_OF_V8 = '11.';
const STORM_MS = 5_000;
/** Looks at a function, one per 67,584 bytes of its bytecode that ran, before it may be optimized (flag-definitions.h). */
const STORM_TICKS = 66;
const DEFAULT_TICKS = 3;
/** Functions up to this size need one look only. */
const DEFAULT_EARLY_BYTES = 81;

export function setV8Flags(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  // Later ones have other names for it, and an unknown flag is a line on stderr.
  if (!process.versions.v8.startsWith(TIERING_OF_V8)) return;
  setFlagsFromString('--always-sparkplug');
  setFlagsFromString(`--ticks-before-optimization=${STORM_TICKS}`);
  setFlagsFromString('--max-bytecode-size-for-early-opt=0');
  setTimeout(() => {
    setFlagsFromString(`--ticks-before-optimization=${DEFAULT_TICKS}`);
    setFlagsFromString(`--max-bytecode-size-for-early-opt=${DEFAULT_EARLY_BYTES}`);
  }, STORM_MS).unref();
}
