/** The server over TLS: what a handshake that fails, stalls or is never begun costs. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, makeAuthority } from '../../../test/kit/certificates.js';
import { eventually } from '../../../test/kit/eventually.js';
import { ApiServer } from './http-api.js';
import { OK_REPLY } from './reply.js';
import type { Route } from './route.js';

let dir: string;
let authority: Authority;
let ca: string;
let server: ApiServer<undefined> | undefined;
let options: TlsOptions;
const defects: unknown[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'halley-https-'));
  authority = await makeAuthority(dir);
  ca = await readFile(authority.caFile, 'utf8');
  return () => rm(dir, { recursive: true });
});
afterEach(() => {
  server?.close();
  expect(defects.splice(0)).toEqual([]);
});

async function optionsOf(commonName: string): Promise<TlsOptions> {
  const { certFile, keyFile } = await authority.issue(commonName, { names: ['IP:127.0.0.1'] });
  return { cert: await readFile(certFile), key: await readFile(keyFile), minVersion: 'TLSv1.2' };
}

const ROUTE: Route<undefined> = {
  method: 'GET',
  path: '/hello',
  access: 'open',
  takes: '',
  doc: 'the only route of this test',
  handle: () => OK_REPLY,
};

async function listen(headersMs = 10_000): Promise<number> {
  options = await optionsOf('first');
  server = new ApiServer([ROUTE], undefined, {
    tls: () => options,
    timeouts: { headersMs, requestMs: Math.max(headersMs, 1_000) },
    onDefect: (error) => void defects.push(error),
  });
  return server.listen('127.0.0.1', 0);
}

function hello(port: number, socket?: TLSSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    const through = socket === undefined ? { agent: false as const } : { createConnection: () => socket };
    const headers = { Connection: 'keep-alive' };
    const asked = request({ host: '127.0.0.1', port, path: '/hello', ca, headers, ...through }, (response) => {
      const { subject } = (response.socket as TLSSocket).getPeerCertificate();
      response.resume().once('end', () => resolve(`${response.statusCode} ${subject?.CN ?? ''}`));
    });
    asked.once('error', reject);
    asked.end();
  });
}

describe('the server over TLS', () => {
  it('ends connections that speak plainly or end their handshake, and goes on', async () => {
    const port = await listen();
    for (const bytes of ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', '\x16\x03\x01\x00\x05hello']) {
      const socket = connectPlain(port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
      let answer = '';
      socket.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1');
      });
      socket.on('error', () => {});
      await new Promise((resolve) => socket.once('close', resolve));
      expect(answer).not.toContain('HTTP');
    }
    expect(await hello(port)).toBe('200 first');
  });

  it('gives a handshake as long as it gives headers', async () => {
    const port = await listen(200);
    const socket = connectPlain(port, '127.0.0.1');
    socket.on('error', () => {});
    const startedMs = performance.now();
    await new Promise((resolve) => socket.once('close', resolve));
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(190);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  it('shows new certificates after a reload, and answers on the connections of before', async () => {
    const port = await listen();
    const old = connect({ host: '127.0.0.1', port, ca });
    await new Promise((resolve) => old.once('secureConnect', resolve));
    options = await optionsOf('second');
    server?.reloadTls();
    expect(await hello(port)).toBe('200 second');
    expect(await hello(port, old)).toBe('200 first');
  });

  it('ends what has not begun its handshake when it closes', async () => {
    const port = await listen();
    const socket = connectPlain(port, '127.0.0.1');
    let isClosed = false;
    socket.on('error', () => {});
    socket.once('close', () => {
      isClosed = true;
    });
    await new Promise((resolve) => socket.once('connect', resolve));
    await hello(port);
    server?.close();
    await eventually(() => isClosed);
  });
});
