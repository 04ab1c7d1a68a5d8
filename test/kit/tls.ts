/** Real TLS handshakes: by openssl for what it says about them, and a node with certificates of its own. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, type CertificateFiles, makeAuthority } from './certificates.js';
import type { ApiAnswer } from './http.js';

export interface TlsDirectory {
  readonly dir: string;
  readonly authority: Authority;
  /** PEM of the authority. */
  readonly ca: string;
  /** For 127.0.0.1 and localhost. */
  readonly own: CertificateFiles;
  remove(): Promise<void>;
}

export async function makeTlsDirectory(): Promise<TlsDirectory> {
  const dir = await mkdtemp(join(tmpdir(), 'halley-tls-'));
  const authority = await makeAuthority(dir);
  const own = await authority.issue('first', { names: ['IP:127.0.0.1', 'DNS:localhost'] });
  const ca = await readFile(authority.caFile, 'utf8');
  return { dir, authority, ca, own, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** What a node takes to serve with this certificate, on free ports. */
export function tlsEnv({ certFile, keyFile }: CertificateFiles): Readonly<Record<string, string>> {
  return { HALLEY_TLS_CERT_FILE: certFile, HALLEY_TLS_KEY_FILE: keyFile, HALLEY_TLS_WS_PORT: '0' };
}

/** What openssl says about a handshake. */
export interface Handshake {
  /** `TLSv1.3`; empty where it failed. */
  readonly protocol: string;
  /** Common name of the certificate that was shown; empty where none was. */
  readonly commonName: string;
  readonly alpn: string;
  /** Why it failed, in openssl's words; empty where it did not. */
  readonly alert: string;
}

/** @param args of `openssl s_client` beyond the address */
export async function handshake(port: number, args: readonly string[] = []): Promise<Handshake> {
  // Its own security level would keep it from offering what a server must refuse.
  const fixed = ['s_client', '-connect', `127.0.0.1:${port}`, '-cipher', 'ALL:@SECLEVEL=0'];
  const child = spawn('openssl', [...fixed, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  child.stdin.on('error', () => {});
  child.stdin.end();
  const deadline = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(deadline);
  return {
    protocol: /^New, (TLSv[\d.]+), Cipher is (?!\(NONE\))/m.exec(text)?.[1] ?? '',
    commonName: /^subject=.*CN ?= ?([^,\n]+)/m.exec(text)?.[1] ?? '',
    alpn: /^ALPN protocol: (\S+)/m.exec(text)?.[1] ?? '',
    alert: /:(?:sslv3|tlsv1|tlsv13)? ?alert ([a-z ]+):/.exec(text)?.[1] ?? '',
  };
}

/** A call of the HTTP API over https, the certificate checked. */
export function secureCall(url: string, ca: string, method: 'GET' | 'POST' = 'GET', body = ''): Promise<ApiAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, ca, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('error', reject);
      response.on('end', () => {
        const json = text.startsWith('{') ? (JSON.parse(text) as Partial<ApiAnswer>) : { message: text };
        resolve({
          status: response.statusCode ?? 0,
          code: json.code ?? Number.NaN,
          message: json.message ?? '',
          data: json.data,
          headers: new Headers(response.headers as Record<string, string>),
        });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
