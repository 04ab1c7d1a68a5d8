/** Who vouches for the certificates that this node is shown as a client: a file that an operator names. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { HalleyError } from '../errors/index.js';

/**
 * The PEM of `file`, checked now: who connects tells of a broken one only with the first connection, which might be days away.
 * @param refusal code and message of the error
 * @throws HalleyError
 */
export function readAuthority(file: string, refusal: { readonly code: string; readonly message: string }): string {
  try {
    const pem = readFileSync(file, 'utf8');
    createSecureContext({ ca: pem });
    // A file without any certificate would trust nobody, and passes the line above.
    new X509Certificate(pem);
    return pem;
  } catch (error) {
    throw new HalleyError(refusal.code, refusal.message, { file }, error);
  }
}
