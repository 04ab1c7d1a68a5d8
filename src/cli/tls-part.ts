/**
 * tls-part: TLS of a node: which certificates, who takes them, and what a reload changes.
 *
 * Threads: control thread.
 * Guarantees: reloads run one after the other; one that is refused has changed nothing and says why in the log.
 */
import { join } from 'node:path';
import { TlsContexts, TlsFiles, type TlsSet } from '../comet/index.js';
import { type Config, parseSni } from '../config/index.js';
import type { Logger } from '../telemetry/index.js';

/** What became of a reload. */
export type TlsReload = 'off' | 'unchanged' | 'refused' | 'partial' | 'done';

/** Who takes new certificates, besides the buckets that start later. */
export interface TlsTakers {
  /** Tell the buckets. */
  readonly buckets: (set: TlsSet) => Promise<{ readonly takenCount: number; readonly askedCount: number }>;
  /** Tell one that has just started, perhaps with older ones. */
  readonly bucket: (set: TlsSet, thread: number) => Promise<unknown>;
  /** Tell the HTTP API, which asks `options()`. */
  readonly api: () => void;
}

export class TlsPart {
  readonly #files: TlsFiles;
  readonly #contexts: TlsContexts;
  readonly #log: Logger;
  #takers: TlsTakers | undefined;
  #reloads: Promise<unknown> = Promise.resolve();

  private constructor(files: TlsFiles, log: Logger) {
    this.#files = files;
    this.#contexts = new TlsContexts(files.current);
    this.#log = log;
  }

  /**
   * Read the configured files; undefined where TLS is off. An expired certificate is served, with a warning: a node that
   * clients complain about is better than none.
   * @throws HalleyError of TlsFiles.load
   */
  static open({ tls, data_dir: dataDir }: Config, log: Logger): TlsPart | undefined {
    if (tls.cert_file === '') return undefined;
    const files = new TlsFiles({
      certFile: tls.cert_file,
      keyFile: tls.key_file,
      sni: parseSni(tls.sni),
      minVersion: tls.min_version,
      directory: join(dataDir, 'tls'),
      nowMs: Date.now,
    });
    files.load(false);
    const part = new TlsPart(files, log);
    part.#sayWhich('serving with this certificate');
    return part;
  }

  /** For every bucket that starts. */
  get current(): TlsSet {
    return this.#files.current;
  }

  /** The newest, for `createServer` and `setSecureContext` of node:tls and node:https. */
  options(): ReturnType<TlsContexts['options']> {
    return this.#contexts.options();
  }

  connect(takers: TlsTakers): void {
    this.#takers = takers;
  }

  /** It may have been started with the certificates of before a reload. */
  bucketReady(thread: number): void {
    const { current } = this.#files;
    if (current.generation > 1) void this.#takers?.bucket(current, thread);
  }

  reload(): Promise<TlsReload> {
    const reload = this.#reloads.then(() => this.#reload());
    this.#reloads = reload;
    return reload;
  }

  close(): void {
    this.#files.close();
  }

  async #reload(): Promise<TlsReload> {
    let set: TlsSet | undefined;
    try {
      set = this.#files.load(true);
      if (set !== undefined) this.#contexts.replace(set);
    } catch (error) {
      this.#log.error({ err: error }, 'the new certificates are refused, the old ones stay in use');
      return 'refused';
    }
    if (set === undefined) {
      this.#log.info({}, 'the certificates are those in use already');
      return 'unchanged';
    }
    this.#takers?.api();
    const { takenCount, askedCount } = (await this.#takers?.buckets(set)) ?? { takenCount: 0, askedCount: 0 };
    if (takenCount < askedCount) {
      const counts = { buckets: askedCount, reloaded: takenCount };
      this.#log.error(counts, 'not every bucket serves with the new certificates; the others keep the old ones');
      return 'partial';
    }
    this.#sayWhich('new handshakes get this certificate');
    return 'done';
  }

  #sayWhich(message: string): void {
    for (const { serverName, certFile, fingerprint, notAfterMs, outOfTime } of this.#files.loaded) {
      const facts = { serverName, certFile, sha256: fingerprint, notAfter: new Date(notAfterMs).toISOString() };
      if (outOfTime === undefined) this.#log.info(facts, message);
      else this.#log.warn(facts, `${message}, but ${outOfTime}`);
    }
  }
}
