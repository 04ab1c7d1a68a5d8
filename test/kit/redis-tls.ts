/** A Redis that speaks TLS only, with an authority and a certificate made by openssl for this server. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from './certificates.js';
import { freePort, type RedisServer, startRedis } from './redis-server.js';

export interface RedisTlsServer extends RedisServer {
  /** PEM file of the authority that signed the server's certificate. */
  readonly caFile: string;
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
