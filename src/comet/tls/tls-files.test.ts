import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Authority, type CertificateFiles, makeAuthority } from '../../../test/kit/certificates.js';
import { TlsFiles } from './tls-files.js';

let dir: string;
let authority: Authority;
let first: CertificateFiles;
let second: CertificateFiles;
let files: TlsFiles;
let paths: CertificateFiles;
let directory: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'halley-tls-files-'));
  authority = await makeAuthority(dir);
  first = await authority.issue('first', { names: ['DNS:first.example'] });
  second = await authority.issue('second', { names: ['DNS:second.example'] });
  return () => rm(dir, { recursive: true });
});
beforeEach(async () => {
  directory = await mkdtemp(join(dir, 'copies-'));
  paths = { certFile: join(directory, 'used.crt'), keyFile: join(directory, 'used.key') };
  await use(first);
  files = new TlsFiles({ ...paths, sni: [], minVersion: '1.2', directory: join(directory, 'own'), nowMs: Date.now });
});
afterEach(() => files.close());

async function use({ certFile, keyFile }: CertificateFiles): Promise<void> {
  await copyFile(certFile, paths.certFile);
  await copyFile(keyFile, paths.keyFile);
}

const inUse = async () => {
  const [{ certFile, keyFile }] = files.current.certificates;
  return [await readFile(certFile, 'utf8'), await readFile(keyFile, 'utf8')];
};
const contentOf = async ({ certFile, keyFile }: CertificateFiles) => [
  await readFile(certFile, 'utf8'),
  await readFile(keyFile, 'utf8'),
];

describe('the certificates of a node', () => {
  it('are what was checked, whatever happens to the files afterwards, and leave no copy that others could read', async () => {
    files.load(false);
    const checked = await contentOf(first);
    await writeFile(paths.certFile, 'half a certif');
    await rm(paths.keyFile);
    expect(await inUse()).toEqual(checked);
    // Again: whoever opens them starts at their beginning.
    expect(await inUse()).toEqual(checked);
    expect(await readdir(join(directory, 'own'))).toEqual([]);
  });

  it('get a higher generation where they have changed, and stay as they are where they have not', async () => {
    expect(files.load(false)?.generation).toBe(1);
    expect(files.load(true)).toBeUndefined();
    await use(second);
    expect(files.load(true)?.generation).toBe(2);
    expect(await inUse()).toEqual(await contentOf(second));
    expect(files.loaded.map(({ serverName }) => serverName)).toEqual(['']);
  });

  it('stay readable for a bucket that starts while newer ones are loaded, and no longer', async () => {
    const generations = [files.load(false)];
    for (const certificate of [second, first]) {
      await use(certificate);
      generations.push(files.load(true));
    }
    const certOf = (index: number) => readFile(generations[index]!.certificates[0].certFile, 'utf8');
    expect(await certOf(1)).toBe(await readFile(second.certFile, 'utf8'));
    expect(await certOf(2)).toBe(await readFile(first.certFile, 'utf8'));
    await expect(certOf(0)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it.each([
    ['a key of another certificate', () => copyFile(second.keyFile, paths.keyFile), 'TLS_KEY_MISMATCH'],
    ['no key', () => writeFile(paths.keyFile, ''), 'TLS_KEY_INVALID'],
    ['a certificate that is none', () => writeFile(paths.certFile, 'x'), 'TLS_CERT_INVALID'],
    ['a broken chain', () => appendGarbage(paths.certFile), 'TLS_CERT_REFUSED'],
    ['a missing file', () => rm(paths.certFile), 'TLS_FILE_UNREADABLE'],
  ])('are not exchanged for %s', async (_, spoil, code) => {
    files.load(false);
    const before = files.current;
    await spoil();
    expect(() => files.load(true)).toThrow(expect.objectContaining({ code }));
    expect(files.current).toBe(before);
    expect(await inUse()).toEqual(await contentOf(first));
  });

  it('may have run out at a start, but not at a reload', async () => {
    files.load(false);
    await use(await authority.issue('old', { names: ['DNS:old.example'], notAfter: '20200101000000Z' }));
    expect(() => files.load(true)).toThrow(expect.objectContaining({ code: 'TLS_CERT_OUT_OF_TIME' }));
    files.load(false);
    expect(files.loaded[0]?.outOfTime).toMatch(/^it has expired on Jan +1 00:00:00 2020 GMT$/);
  });

  it('cannot be asked for before they are loaded', () => {
    expect(() => files.current).toThrow(expect.objectContaining({ code: 'TLS_NOT_LOADED' }));
  });
});

async function appendGarbage(file: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  await writeFile(file, `${text}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`);
}
