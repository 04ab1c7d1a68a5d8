/**
 * read-certificate: a certificate and its key from their files, checked as far as it can be without a client.
 *
 * Threads: control thread (it reads synchronously).
 * Guarantees: what it returns makes a working server; no error holds a byte of the key.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { HalleyError } from '../../errors/index.js';

export interface CertificatePaths {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CheckedCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  /** SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` shows it. */
  readonly fingerprint: string;
  readonly notAfterMs: number;
  /** Why no client will believe it now; undefined where its time is right. */
  readonly outOfTime: string | undefined;
}

/** Which options the paths came from, for errors. */
export interface CertificateOptions {
  readonly cert: string;
  readonly key: string;
}

/** @throws HalleyError TLS_FILE_UNREADABLE, TLS_CERT_INVALID, TLS_KEY_INVALID, TLS_KEY_MISMATCH, TLS_CERT_REFUSED */
export function readCertificate(
  { certFile, keyFile }: CertificatePaths,
  options: CertificateOptions,
  nowMs: number,
): CheckedCertificate {
  const certPem = readPem(certFile, options.cert);
  const keyPem = readPem(keyFile, options.key);
  const leaf = leafOf(certPem, certFile, options.cert);
  const key = keyOf(keyPem, keyFile, options.key);
  if (!leaf.checkPrivateKey(key)) {
    throw new HalleyError(
      'TLS_KEY_MISMATCH',
      `${options.key} does not fit ${options.cert}: it is the key of another certificate, or the chain stands in front of the certificate`,
      { certificate: certFile, key: keyFile, subject: subjectOf(leaf) },
    );
  }
  try {
    process.getBuiltinModule('node:tls').createSecureContext({ cert: certPem, key: keyPem });
  } catch (error) {
    // For example a key that is too short for today's rules, or a broken certificate further down the chain.
    throw new HalleyError(
      'TLS_CERT_REFUSED',
      `${options.cert} cannot be served with`,
      { file: certFile, reason: reasonOf(error) },
      error,
    );
  }
  const notAfterMs = Date.parse(leaf.validTo);
  return { certPem, keyPem, fingerprint: leaf.fingerprint256, notAfterMs, outOfTime: outOfTime(leaf, nowMs) };
}

function readPem(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const details = { option, file, reason: reasonOf(error) };
    throw new HalleyError('TLS_FILE_UNREADABLE', `${option} names a file that cannot be read`, details, error);
  }
}

function leafOf(pem: string, file: string, option: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new HalleyError(
      'TLS_CERT_INVALID',
      `${option} must be a PEM file that begins with the certificate, its chain behind it`,
      { file, reason: reasonOf(error) },
      error,
    );
  }
}

function keyOf(pem: string, file: string, option: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new HalleyError(
      'TLS_KEY_INVALID',
      `${option} must be a PEM file with a private key that needs no passphrase`,
      { file, reason: reasonOf(error) },
      error,
    );
  }
}

function subjectOf(leaf: X509Certificate): string {
  return leaf.subject?.replaceAll('\n', ', ') ?? '';
}

function outOfTime({ validFrom, validTo }: X509Certificate, nowMs: number): string | undefined {
  if (nowMs > Date.parse(validTo)) return `it has expired on ${validTo}`;
  return nowMs < Date.parse(validFrom) ? `it is not valid before ${validFrom}` : undefined;
}

/** OpenSSL's codes say more than its sentences, which name functions. */
function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
