/**
 * tls-files: the configured certificates of a node: read, checked, and kept as they were when they were checked.
 *
 * Whoever renews a certificate writes two files, one after the other. Buckets start again after a crash at any time and
 * uWebSockets.js takes files only, so they must not read those two: each set is copied into unlinked files that live as long
 * as their descriptors, and the buckets open `/proc/self/fd/N`. Where there is no /proc (elsewhere than on Linux) they get the
 * configured paths; a bucket that restarts in the middle of a renewal there may have to restart once more.
 *
 * Threads: control thread.
 * Guarantees: load() changes nothing where it throws; a set's files stay until two newer ones have been made.
 */
import { closeSync, existsSync, mkdirSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { HalleyError } from '../../errors/index.js';
import { type CertificatePaths, type CheckedCertificate, readCertificate } from './read-certificate.js';
import type { TlsCertificate, TlsMinVersion, TlsSet } from './tls-set.js';

export interface NamedPaths extends CertificatePaths {
  readonly serverName: string;
}

export interface TlsFilesOptions {
  readonly certFile: string;
  readonly keyFile: string;
  /** Certificates of further names. */
  readonly sni: readonly NamedPaths[];
  readonly minVersion: TlsMinVersion;
  /** Where the copies are made; created where it is missing. */
  readonly directory: string;
  readonly nowMs: () => number;
}

export interface LoadedCertificate extends CheckedCertificate {
  readonly serverName: string;
  readonly certFile: string;
}

const DESCRIPTORS = '/proc/self/fd';
/** The set in use and the one before it, which a bucket may be starting with. */
const KEPT_SETS = 2;

export class TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #descriptors: (readonly number[])[] = [];
  #current: TlsSet | undefined;
  #loaded: readonly LoadedCertificate[] = [];

  constructor(options: TlsFilesOptions) {
    this.#options = options;
  }

  /** What was loaded last. @throws HalleyError TLS_NOT_LOADED */
  get current(): TlsSet {
    if (this.#current === undefined) throw new HalleyError('TLS_NOT_LOADED', 'load the certificates first');
    return this.#current;
  }

  /** The certificates of `current`. */
  get loaded(): readonly LoadedCertificate[] {
    return this.#loaded;
  }

  /**
   * Read the files. Returns undefined where they hold what is in use already.
   * @param refusesOutOfTime also an expired certificate is an error: a renewal must not make things worse
   * @throws HalleyError of readCertificate, or TLS_CERT_OUT_OF_TIME
   */
  load(refusesOutOfTime: boolean): TlsSet | undefined {
    const { certFile, keyFile, sni, minVersion, nowMs } = this.#options;
    const all: readonly NamedPaths[] = [{ serverName: '', certFile, keyFile }, ...sni];
    const loaded = all.map((paths): LoadedCertificate => {
      const { serverName } = paths;
      const names =
        serverName === ''
          ? { cert: 'tls.cert_file', key: 'tls.key_file' }
          : { cert: `the certificate of ${serverName} in tls.sni`, key: `the key of ${serverName} in tls.sni` };
      const checked = readCertificate(paths, names, nowMs());
      if (refusesOutOfTime && checked.outOfTime !== undefined) {
        throw new HalleyError('TLS_CERT_OUT_OF_TIME', `${names.cert} is of no use: ${checked.outOfTime}`, {
          file: paths.certFile,
        });
      }
      return { ...checked, serverName, certFile: paths.certFile };
    });
    if (this.#isInUse(loaded)) return undefined;
    const [first, ...others] = this.#keep(loaded, all);
    this.#loaded = loaded;
    this.#current = {
      generation: (this.#current?.generation ?? 0) + 1,
      minVersion,
      certificates: [first as TlsCertificate, ...others],
    };
    return this.#current;
  }

  close(): void {
    for (const descriptor of this.#descriptors.splice(0).flat()) closeSync(descriptor);
  }

  #isInUse(loaded: readonly LoadedCertificate[]): boolean {
    return (
      this.#current !== undefined &&
      loaded.every(({ certPem, keyPem }, index) => {
        const kept = this.#loaded[index];
        return certPem === kept?.certPem && keyPem === kept.keyPem;
      })
    );
  }

  #keep(loaded: readonly LoadedCertificate[], paths: readonly NamedPaths[]): TlsCertificate[] {
    if (!existsSync(DESCRIPTORS)) return paths.map((named) => ({ ...named }));
    const descriptors: number[] = [];
    try {
      const certificates = loaded.map(({ serverName, certPem, keyPem }) => {
        const [cert, key] = [this.#copy(certPem), this.#copy(keyPem)];
        descriptors.push(cert, key);
        return { serverName, certFile: `${DESCRIPTORS}/${cert}`, keyFile: `${DESCRIPTORS}/${key}` };
      });
      this.#descriptors.push(descriptors);
      for (const old of this.#descriptors.splice(0, this.#descriptors.length - KEPT_SETS).flat()) closeSync(old);
      return certificates;
    } catch (error) {
      for (const descriptor of descriptors) closeSync(descriptor);
      const details = { directory: this.#options.directory };
      throw new HalleyError('TLS_COPY_FAILED', 'the certificates could not be copied', details, error);
    }
  }

  /** A file without a name, of which only this process has the descriptor. */
  #copy(pem: string): number {
    const { directory } = this.#options;
    mkdirSync(directory, { recursive: true });
    const path = join(directory, `.tls-${process.pid}-${process.hrtime.bigint()}`);
    const descriptor = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    writeSync(descriptor, pem);
    return descriptor;
  }
}
