/**
 * The last words of a thread, in shared memory: they arrive also when its ring is full.
 *
 * Threads: the dying thread writes, the control thread reads after the thread's exit.
 * Layout: word 0 bytes of text, from byte 8 the text in UTF-8.
 */
const LENGTH_WORD = 0;
const TEXT_OFFSET = 8;
const NOTE_BYTES = 4096;

export function allocateCrashNote(): SharedArrayBuffer {
  return new SharedArrayBuffer(NOTE_BYTES);
}

/** Keep `text`, cut where the note ends. An empty text clears it. */
export function writeCrashNote(memory: SharedArrayBuffer, text: string): void {
  const writtenBytes = Buffer.from(memory, TEXT_OFFSET).write(text, 'utf8');
  Atomics.store(new Int32Array(memory), LENGTH_WORD, writtenBytes); // pairs with the load in readCrashNote()
}

/** What was kept; empty when the thread died without a word. */
export function readCrashNote(memory: SharedArrayBuffer): string {
  const bytes = Atomics.load(new Int32Array(memory), LENGTH_WORD);
  return Buffer.from(memory, TEXT_OFFSET).toString('utf8', 0, bytes);
}
