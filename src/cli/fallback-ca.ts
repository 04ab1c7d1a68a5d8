/**
 * Who vouches for the certificates of other nodes, where requests of the HTTP fallbacks are taken to them over TLS.
 */
import type { Config } from '../config/index.js';
import { readAuthority } from '../logic/index.js';

/**
 * PEM of `fallback.ca_file`; '' where the system's authorities are trusted.
 * @throws HalleyError FALLBACK_CA_UNREADABLE
 */
export function readFallbackCa({ fallback: { ca_file: file } }: Config): string {
  if (file === '') return '';
  return readAuthority(file, {
    code: 'FALLBACK_CA_UNREADABLE',
    message: 'fallback.ca_file must be a readable PEM file of certificates, or empty',
  });
}
