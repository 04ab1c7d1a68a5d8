import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkPlatform, checkUwsBinary, currentPlatform } from './preflight.js';
import { UWS_BINARY_SHA256, UWS_PACKAGE } from './uws-binaries.js';

const NODE_20 = { nodeVersion: '20.19.0', modules: '115', platform: 'linux', arch: 'x64', glibc: '2.31' };

describe('the platform', () => {
  it.each([
    NODE_20,
    { ...NODE_20, glibc: '2.27' },
    { ...NODE_20, nodeVersion: '20.19.43', glibc: '3.0' },
    { ...NODE_20, nodeVersion: '22.1.0', modules: '127', glibc: '2.38' },
    { ...NODE_20, nodeVersion: '24.0.0', modules: '137', glibc: '2.40' },
    { ...NODE_20, platform: 'darwin', glibc: undefined },
  ])('Node $nodeVersion on $platform with glibc $glibc is fine', (platform) => {
    expect(() => checkPlatform(platform)).not.toThrow();
  });

  it.each([
    [{ nodeVersion: '20.18.9' }, 'Halley needs Node 20.19 or newer: node="20.18.9"'],
    [{ nodeVersion: '18.20.0' }, 'Halley needs Node 20.19 or newer: node="18.20.0"'],
    [
      { glibc: undefined },
      'uWebSockets.js is built for glibc; use a glibc image such as node:20-bookworm-slim: platform="linux"',
    ],
    [
      { glibc: '2.26' },
      'the uWebSockets.js build for this Node needs glibc 2.27; use Node 20, or a newer system: node="20.19.0" glibc="2.26"',
    ],
    [
      { nodeVersion: '22.1.0', modules: '127' },
      'the uWebSockets.js build for this Node needs glibc 2.38; use Node 20, or a newer system: node="22.1.0" glibc="2.31"',
    ],
  ])('%j is refused in one sentence', (change, message) => {
    expect(() => checkPlatform({ ...NODE_20, ...change })).toThrow(
      expect.objectContaining({ name: 'HalleyError', message }),
    );
  });

  it('of this process is known, and fine', () => {
    const platform = currentPlatform();
    expect(platform).toMatchObject({ nodeVersion: process.versions.node, platform: process.platform });
    expect(() => checkPlatform(platform)).not.toThrow();
  });
});

describe('the uWebSockets.js binary', () => {
  const packageDir = dirname(createRequire(import.meta.url).resolve('uWebSockets.js/package.json'));

  it('that is loaded here is the one that was reviewed', () => {
    expect(checkUwsBinary(currentPlatform())).toBe('verified');
  });

  // The package also has builds for Node 21 and older; one without a listed sum used to count as verified.
  it('that nobody reviewed is refused although the package has it', () => {
    const platform = { ...currentPlatform(), nodeVersion: '21.7.3', modules: '120' };
    expect(() => checkUwsBinary(platform)).toThrow(expect.objectContaining({ code: 'UWS_NOT_REVIEWED' }));
  });

  it('of every platform that is listed is the one in the package', () => {
    const manifest = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')) as Record<string, string>;
    expect(`${manifest['name']}@${manifest['version']}`).toBe(UWS_PACKAGE);
    for (const [file, expected] of Object.entries(UWS_BINARY_SHA256)) {
      const sha256 = createHash('sha256')
        .update(readFileSync(join(packageDir, file)))
        .digest('hex');
      expect([file, sha256]).toEqual([file, expected]);
    }
  });

  it.each([{ arch: 's390x' }, { modules: '999' }, { platform: 'freebsd' }])(
    'that does not exist for %j is an error that names the file',
    (change) => {
      const platform = { ...currentPlatform(), ...change };
      const file = `uws_${platform.platform}_${platform.arch}_${platform.modules}.node`;
      expect(() => checkUwsBinary(platform)).toThrow(expect.objectContaining({ code: 'UWS_NO_BUILD' }));
      expect(() => checkUwsBinary(platform)).toThrow(file);
    },
  );
});
