/**
 * api-tls: whom an operator's command believes to be the node, where its API speaks https.
 *
 * On the node's own machine the address follows from the configuration, and is no name that a certificate holds: there the node
 * must show the very certificate that the configuration names. Everywhere else the usual rules hold: a chain to an authority
 * (`--ca`, or those that Node.js brings along), and the host's name in the certificate.
 *
 * Guarantees: nothing is sent, and no token, before the other side has shown that it is the right one.
 */
import { X509Certificate } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import { HalleyError } from '../errors/index.js';

/** Both undefined: the authorities that Node.js brings along. */
export interface ApiTrust {
  /** PEM of authorities; no others are believed. */
  readonly ca?: string | undefined;
  /** PEM of the certificate that must be shown, whoever has signed it and for whatever name. */
  readonly certificate?: string | undefined;
}

export const API_CERTIFICATE = 'API_CERTIFICATE';

/**
 * Connect and see the certificate.
 * @param pem begins with the certificate that must be shown
 * @returns a socket that may be written to
 * @throws HalleyError API_CERTIFICATE where it is another one; the error of the socket
 */
export function connectToKnown(url: string, pem: string, timeoutMs: number): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const wanted = new X509Certificate(pem).fingerprint256;
  return new Promise((resolve, reject) => {
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    // The chain and the name are not what decides here: it is compared as a whole, below.
    const socket = connect({ host, port: port === '' ? 443 : Number(port), rejectUnauthorized: false });
    const late = setTimeout(() => socket.destroy(new Error('deadline')), timeoutMs);
    socket.once('close', () => clearTimeout(late));
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      clearTimeout(late);
      socket.off('error', reject);
      const shown = socket.getPeerCertificate().fingerprint256;
      if (shown === wanted) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(
        new HalleyError(
          API_CERTIFICATE,
          'the node shows another certificate than tls.cert_file: it was renewed without a SIGHUP, or another program listens here; --url with the name in its certificate asks it by the usual rules',
          { url, shown: shown ?? 'none', wanted },
        ),
      );
    });
  });
}
