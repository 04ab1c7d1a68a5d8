/** A Redis that speaks TLS only, with an authority and a certificate made by openssl for this server. */
import { execFile } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, type RedisServer, startRedis } from './redis-server.js';

const run = promisify(execFile);

export interface RedisTlsServer extends RedisServer {
  /** PEM file of the authority that signed the server's certificate. */
  readonly caFile: string;
}

/** An authority and a certificate for 127.0.0.1 and localhost, signed by it, in `dir`. */
async function makeCertificates(dir: string): Promise<{ caFile: string; certFile: string; keyFile: string }> {
  const [caFile, caKeyFile, certFile, keyFile] = ['ca.crt', 'ca.key', 'redis.crt', 'redis.key'].map((name) =>
    join(dir, name),
  ) as [string, string, string, string];
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await run('openssl', ['req', '-x509', ...ec, '-keyout', caKeyFile, '-out', caFile, '-subj', '/CN=halley test CA']);
  const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-addext', 'basicConstraints=CA:FALSE'];
  await run('openssl', [
    ...['req', '-x509', '-CA', caFile, '-CAkey', caKeyFile, ...ec],
    ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=halley test redis', ...names],
  ]);
  return { caFile, certFile, keyFile };
}

export async function startRedisTls(): Promise<RedisTlsServer> {
  const dir = await mkdtemp(join(tmpdir(), 'halley-redis-tls-'));
  const { caFile, certFile, keyFile } = await makeCertificates(dir);
  const port = await freePort();
  const server = await startRedis({
    port,
    dir,
    args: [
      ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
      ...['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', caFile],
    ],
  });
  return { ...server, url: `rediss://127.0.0.1:${port}`, caFile };
}
