/**
 * tls-set: the certificates that new handshakes take, as plain data that crosses thread boundaries.
 *
 * Threads: made on the control thread by `TlsFiles`, read in every bucket.
 * Guarantees: what the paths name does not change, whatever happens to the files it was read from, until two newer sets have
 *   been made.
 */
export type TlsMinVersion = '1.2' | '1.3';

/** A certificate with its chain, and its key: PEM files. */
export interface TlsCertificate {
  /** Name of the server that it is for; `*.` at its front stands for one label. Empty: whoever asks for no name of the set. */
  readonly serverName: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface TlsSet {
  /** From 1, higher with each reload. */
  readonly generation: number;
  readonly minVersion: TlsMinVersion;
  /** The first one has no name. */
  readonly certificates: readonly [TlsCertificate, ...TlsCertificate[]];
}
