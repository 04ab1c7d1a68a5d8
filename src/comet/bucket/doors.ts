/**
 * The doors of a bucket as one: the WebSocket first, because it is the hot path, and whatever else is configured.
 *
 * Threads: its bucket.
 * Hot path: publish().
 */
import type { DiscardCounter } from '../../errors/index.js';
import type { TlsSet } from '../tls/index.js';
import type { BucketTls } from './bucket-tls.js';
import type { Door } from './door.js';

export class Doors {
  readonly #main: Door;
  /** Undefined where there is only the WebSocket. */
  readonly #others: readonly Door[] | undefined;
  readonly #tls: BucketTls | undefined;

  /** @param tls where the doors with TLS find the newest certificates; undefined: there are none */
  constructor(main: Door, others: readonly Door[], tls?: BucketTls) {
    this.#main = main;
    this.#tls = tls;
    this.#others = others.length === 0 ? undefined : others;
  }

  get discards(): readonly DiscardCounter[] {
    return this.#all().map((door) => door.discards);
  }

  /** Resolved: every port is bound. */
  async listen(): Promise<void> {
    await Promise.all(this.#all().map((door) => door.listen()));
  }

  stopAccepting(): void {
    for (const door of this.#all()) door.stopAccepting();
  }

  async settle(withinMs: number): Promise<void> {
    await Promise.all(this.#all().map((door) => door.settle?.(withinMs)));
  }

  publish(topic: string, bytes: Uint8Array): void {
    this.#main.publish(topic, bytes);
    const others = this.#others;
    if (others === undefined) return;
    for (let index = 0; index < others.length; index++) others[index]!.publish(topic, bytes);
  }

  /**
   * New handshakes of every door take these certificates, or, where one of them refuses, all keep theirs: it rejects with the
   * reason.
   */
  async reloadTls(set: TlsSet): Promise<void> {
    const tls = this.#tls;
    if (tls === undefined || tls.set.generation >= set.generation) return;
    const before = tls.set;
    tls.replace(set);
    try {
      for (const door of this.#all()) await door.reloadTls?.();
    } catch (error) {
      tls.replace(before);
      for (const door of this.#all()) await door.reloadTls?.();
      throw error;
    }
  }

  makeInert(): void {
    for (const door of this.#all()) door.makeInert();
  }

  closeAll(): void {
    for (const door of this.#all()) door.closeAll();
  }

  #all(): readonly Door[] {
    return this.#others === undefined ? [this.#main] : [this.#main, ...this.#others];
  }
}
