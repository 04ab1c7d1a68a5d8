import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, makeAuthority } from '../../../test/kit/certificates.js';
import { TlsContexts } from './tls-contexts.js';
import type { TlsCertificate, TlsMinVersion, TlsSet } from './tls-set.js';

let dir: string;
let authority: Authority;
let server: Server | undefined;
const clients: TLSSocket[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'halley-tls-contexts-'));
  authority = await makeAuthority(dir);
  return () => rm(dir, { recursive: true });
});
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  server?.close();
});

async function setOf(
  generation: number,
  names: readonly (readonly [string, string])[],
  minVersion: TlsMinVersion = '1.2',
): Promise<TlsSet> {
  const certificates: TlsCertificate[] = [];
  for (const [serverName, commonName] of names) {
    certificates.push({ serverName, ...(await authority.issue(commonName, { names: [`DNS:${commonName}.example`] })) });
  }
  return { generation, minVersion, certificates: certificates as [TlsCertificate, ...TlsCertificate[]] };
}

async function listen(contexts: TlsContexts): Promise<Server> {
  const listening = createServer(contexts.options(), (socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  server = listening;
  return listening;
}

/** Common name of the certificate that is shown to who asks for `servername`. */
async function shown(to: Server, servername: string, maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3'): Promise<string> {
  const ca = await readFile(authority.caFile);
  const { port } = to.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port, servername, ca, maxVersion, checkServerIdentity: () => undefined });
  clients.push(client);
  await new Promise((resolve, reject) => {
    client.once('secureConnect', resolve);
    client.once('error', reject);
  });
  return String(client.getPeerCertificate().subject.CN);
}

describe('certificates for servers of node:tls', () => {
  it('are chosen by name, whatever the size of its letters, one label for a star, and the first for all others', async () => {
    const names = [
      ['', 'default'],
      ['chat.example', 'chat'],
      ['*.wild.example', 'wild'],
    ] as const;
    const listening = await listen(new TlsContexts(await setOf(1, names)));
    const found: string[] = [];
    for (const name of ['', 'chat.example', 'Chat.Example', 'a.wild.example', 'wild.example', 'b.a.wild.example']) {
      found.push(await shown(listening, name));
    }
    expect(found).toEqual(['default', 'chat', 'chat', 'wild', 'default', 'default']);
  });

  it('are exchanged for new handshakes, with names that come and go, while open connections stay', async () => {
    const contexts = new TlsContexts(
      await setOf(1, [
        ['', 'default'],
        ['gone.example', 'gone'],
      ]),
    );
    const listening = await listen(contexts);
    expect(await shown(listening, 'gone.example')).toBe('gone');
    const old = clients.at(-1)!;
    contexts.replace(
      await setOf(2, [
        ['', 'later'],
        ['new.example', 'new'],
      ]),
    );
    listening.setSecureContext(contexts.options());
    expect([await shown(listening, 'gone.example'), await shown(listening, 'new.example')]).toEqual(['later', 'new']);
    expect([old.destroyed, old.writable]).toEqual([false, true]);
  });

  it('are not exchanged for ones that cannot be read', async () => {
    const contexts = new TlsContexts(await setOf(1, [['', 'default']]));
    const missing: TlsCertificate = { serverName: '', certFile: join(dir, 'none'), keyFile: join(dir, 'none') };
    const before = contexts.options();
    expect(() => contexts.replace({ generation: 2, minVersion: '1.2', certificates: [missing] })).toThrow(/ENOENT/);
    expect(contexts.options()).toBe(before);
  });

  it('keep to the lowest version, for every name', async () => {
    const names = [
      ['', 'default'],
      ['chat.example', 'chat'],
    ] as const;
    const listening = await listen(new TlsContexts(await setOf(1, names, '1.3')));
    for (const name of ['', 'chat.example']) {
      await expect(shown(listening, name, 'TLSv1.2')).rejects.toThrow(/protocol version/);
      expect(await shown(listening, name)).toBe(name === '' ? 'default' : 'chat');
    }
  });
});
