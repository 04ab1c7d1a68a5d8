/** A certificate authority and a certificate signed by it, made by openssl for one test. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Certificates {
  /** PEM file of the authority. */
  readonly caFile: string;
  /** For 127.0.0.1 and localhost. */
  readonly certFile: string;
  readonly keyFile: string;
}

/** An authority and a certificate for 127.0.0.1 and localhost, signed by it, in `dir`. */
export async function makeCertificates(dir: string): Promise<Certificates> {
  const [caFile, caKeyFile, certFile, keyFile] = ['ca.crt', 'ca.key', 'server.crt', 'server.key'].map((name) =>
    join(dir, name),
  ) as [string, string, string, string];
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await run('openssl', ['req', '-x509', ...ec, '-keyout', caKeyFile, '-out', caFile, '-subj', '/CN=halley test CA']);
  const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-addext', 'basicConstraints=CA:FALSE'];
  await run('openssl', [
    ...['req', '-x509', '-CA', caFile, '-CAkey', caKeyFile, ...ec],
    ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=halley test server', ...names],
  ]);
  return { caFile, certFile, keyFile };
}
