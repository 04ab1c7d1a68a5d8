/**
 * Who vouches for the certificates of other nodes, where requests of the HTTP fallbacks are taken to them over TLS.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Config } from '../config/index.js';
import { HalleyError } from '../errors/index.js';

/**
 * PEM of `fallback.ca_file`; '' where the system's authorities are trusted. Checked at the start: the first request for
 * another node might be days away.
 * @throws HalleyError FALLBACK_CA_UNREADABLE
 */
export function readFallbackCa({ fallback: { ca_file: file } }: Config): string {
  if (file === '') return '';
  try {
    const pem = readFileSync(file, 'utf8');
    createSecureContext({ ca: pem });
    // A file without any certificate would trust nobody, and passes the line above.
    new X509Certificate(pem);
    return pem;
  } catch (error) {
    throw new HalleyError(
      'FALLBACK_CA_UNREADABLE',
      'fallback.ca_file must be a readable PEM file of certificates, or empty',
      { file },
      error,
    );
  }
}
