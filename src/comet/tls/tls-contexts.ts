/**
 * tls-contexts: a set of certificates for servers of node:tls (the HTTP API, the TCP door). One object serves any number of
 * servers of its thread: `options()` makes one, and after replace() `server.setSecureContext(options())` gives it the new default;
 * certificates by name are looked up here at each handshake.
 *
 * Threads: that of its servers.
 * Guarantees: replace() changes nothing where it throws. ALPN is left to the server (node:https says http/1.1).
 */
import { readFileSync } from 'node:fs';
import type { SecureContext, TlsOptions } from 'node:tls';
import type { TlsCertificate, TlsMinVersion, TlsSet } from './tls-set.js';

interface Loaded {
  readonly options: TlsOptions;
  readonly byName: ReadonlyMap<string, SecureContext>;
}

export class TlsContexts {
  #loaded: Loaded;

  constructor(set: TlsSet) {
    this.#loaded = this.#load(set);
  }

  /** For `createServer` and `setSecureContext`; the newest set's. */
  options(): TlsOptions {
    return this.#loaded.options;
  }

  replace(set: TlsSet): void {
    this.#loaded = this.#load(set);
  }

  #load({ certificates: [first, ...named], minVersion }: TlsSet): Loaded {
    return {
      options: {
        ...contextOptions(first, minVersion),
        SNICallback: (name, answer) => answer(null, this.#find(name.toLowerCase())),
      },
      byName: new Map(
        named.map((one) => [
          one.serverName.toLowerCase(),
          process.getBuiltinModule('node:tls').createSecureContext(contextOptions(one, minVersion)),
        ]),
      ),
    };
  }

  /** Undefined: the default. */
  #find(name: string): SecureContext | undefined {
    const { byName } = this.#loaded;
    return byName.get(name) ?? byName.get(`*${name.slice(name.indexOf('.'))}`);
  }
}

function contextOptions({ certFile, keyFile }: TlsCertificate, minVersion: TlsMinVersion) {
  return { cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: `TLSv${minVersion}` as const };
}
