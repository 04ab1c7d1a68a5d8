/**
 * The flags of V8 that the program sets for its process, before any worker starts. A library must not: they are the process's.
 *
 * `--semi-space-growth-factor=1` keeps the young generation of the main thread small. V8 lets it grow to two spaces of 16 MB under
 * a connect storm and gives little of that back; at 15,000 channels this alone is 1 KB per channel. Workers have a limit of
 * their own (bucket.young_heap_mb).
 *
 * `--always-sparkplug --interrupt-budget` compile every function once, plainly, and optimize it ten times later, for the first
 * seconds of a process: that is when everybody whose node was restarted comes back at once, and in a storm of 10,000 connects
 * the optimizing compiler of each thread took a sixth of the CPU for code that ran for a second (115 us a connect became 91,
 * bench:e2e connect). Left on for good it costs what runs for long: 35 % of a push by key and 20 % of an echo were still
 * unoptimized code ten seconds later (bench:e2e keys, echo), so V8's own budget returns after the storm.
 */
import { setFlagsFromString } from 'node:v8';

const STORM_MS = 5_000;
/** V8's default, in bytes of bytecode run between two looks at a function (v8/src/flags, Node 20). */
const DEFAULT_INTERRUPT_BUDGET_BYTES = 67_584;

export function setV8Flags(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--always-sparkplug');
  setFlagsFromString('--interrupt-budget=1500000');
  setTimeout(() => {
    setFlagsFromString(`--interrupt-budget=${DEFAULT_INTERRUPT_BUDGET_BYTES}`);
  }, STORM_MS).unref();
}
