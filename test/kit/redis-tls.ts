/** A Redis that speaks TLS only, with a certificate of its own. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeAuthority } from './certificates.js';
import { freePort, type RedisServer, startRedis } from './redis-server.js';

export interface RedisTlsServer extends RedisServer {
  /** PEM file of the authority that signed the server's certificate. */
  readonly caFile: string;
}

export async function startRedisTls(): Promise<RedisTlsServer> {
  const dir = await mkdtemp(join(tmpdir(), 'halley-redis-tls-'));
  const authority = await makeAuthority(dir);
  const { caFile } = authority;
  const { certFile, keyFile } = await authority.issue('redis', { names: ['IP:127.0.0.1', 'DNS:localhost'] });
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
