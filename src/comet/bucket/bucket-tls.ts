/**
 * The certificates that the doors of a bucket take, and their exchange.
 *
 * Threads: its bucket.
 */
import type { TlsOptions } from 'node:tls';
import { TlsContexts, type TlsSet } from '../tls/index.js';

export class BucketTls {
  #set: TlsSet;
  /** Made when a door of node:tls asks for the first time. */
  #contexts: TlsContexts | undefined;

  constructor(set: TlsSet) {
    this.#set = set;
  }

  /** The newest, for doors of uWebSockets.js. */
  get set(): TlsSet {
    return this.#set;
  }

  /** The newest, for doors of node:tls. */
  options(): TlsOptions {
    this.#contexts ??= new TlsContexts(this.#set);
    return this.#contexts.options();
  }

  /** Throws where a certificate cannot be read, and has changed nothing then. */
  replace(set: TlsSet): void {
    this.#contexts?.replace(set);
    this.#set = set;
  }
}
