/**
 * Keeps the young generation of the main thread's heap small.
 *
 * V8 lets it grow to two spaces of 16 MB under a connect storm and gives little of that back; at 15,000 channels this alone
 * is 1 KB per channel. Workers have a limit of their own (bucket.young_heap_mb); the main thread's can only be set on the
 * command line or, as here, by keeping it from growing. The program does this, a library must not: the flag is the
 * process's.
 */
import { setFlagsFromString } from 'node:v8';

export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
