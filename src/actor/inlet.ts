/**
 * What comes from one other thread's ring, and who gets it.
 *
 * Threads: the one that reads.
 * Hot path: onRecord(): one comparison and one call per record.
 */
import type { RingReader } from '../ring/index.js';
import { FIRST_RAW_KIND } from './envelope.layout.js';

/**
 * A handler of raw records. `bytes` is the writer's whole ring: read [offset, offset + lengthBytes) and only until
 * return; never write.
 */
export type RawHandler = (bytes: Uint8Array, offset: number, lengthBytes: number, fromThread: number) => void;

/** The actor system as the runtime sees it. */
export interface Engine {
  /** A record of kind 0 to 15; the memory is held until return, so nothing of the application may run. */
  onRecord(kind: number, bytes: Uint8Array, offset: number, lengthBytes: number, fromThread: number): void;
  /** Receive what lies in the mailboxes, bounded. */
  run(): void;
  /** True when run() left something over. */
  hasWork(): boolean;
}

/** Where errors go that belong to no actor: a throw in a raw handler or a turn hook. */
export type ErrorSink = (error: unknown, where: string) => void;

/** What comes from one other thread's ring. */
export class Inlet {
  readonly reader: RingReader;
  readonly #fromThread: number;
  readonly #handlers: readonly (RawHandler | undefined)[];
  readonly #engine: { readonly current: Engine | undefined };
  readonly #onError: ErrorSink;
  /** Records of kinds that nobody has registered, or not yet. */
  unhandledCount: number;

  constructor(
    reader: RingReader,
    fromThread: number,
    handlers: readonly (RawHandler | undefined)[],
    engine: { readonly current: Engine | undefined },
    onError: ErrorSink,
  ) {
    this.#engine = engine;
    this.reader = reader;
    this.#fromThread = fromThread;
    this.#handlers = handlers;
    this.#onError = onError;
    this.unhandledCount = 0;
  }

  get fromThread(): number {
    return this.#fromThread;
  }

  onRecord(kind: number, bytes: Uint8Array, offset: number, lengthBytes: number): void {
    const engine = this.#engine.current;
    const handler = this.#handlers[kind];
    if (kind < FIRST_RAW_KIND && engine !== undefined) {
      try {
        engine.onRecord(kind, bytes, offset, lengthBytes, this.#fromThread);
      } catch (error) {
        this.#onError(error, 'record');
      }
      return;
    }
    if (handler === undefined) {
      this.unhandledCount++;
      return;
    }
    // One bad record must not take the rest of the drain with it.
    try {
      handler(bytes, offset, lengthBytes, this.#fromThread);
    } catch (error) {
      this.#onError(error, 'record');
    }
  }
}
