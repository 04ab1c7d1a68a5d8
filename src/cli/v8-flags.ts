/**
 * The flags of V8 that the program sets for its process, before any worker starts. A library must not: they are the process's.
 *
 * `--semi-space-growth-factor=1` keeps the young generation of the main thread small. V8 lets it grow to two spaces of 16 MB under
 * a connect storm and gives little of that back; at 15,000 channels this alone is 1 KB per channel. Workers have a limit of
 * their own (bucket.young_heap_mb).
 *
 * `--always-sparkplug --interrupt-budget` compile every function once, plainly, and optimize it ten times later. In a storm of
 * 10,000 connects the optimizing compiler of each thread took a sixth of the CPU for code that ran for a second: 115 us a
 * connect became 91 (bench:e2e connect); what runs for longer is optimized all the same (425 ns a delivery at 400/s, before
 * and after).
 */
import { setFlagsFromString } from 'node:v8';

export function setV8Flags(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--always-sparkplug');
  setFlagsFromString('--interrupt-budget=1500000');
}
