/**
 * What must hold before anything else is loaded: a Node that the chosen uWebSockets.js build supports, and a binary that
 * is the one the lockfile names. Runs before the first import of uWebSockets.js, whose own error is a riddle.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { HalleyError } from '../errors/index.js';
import { UWS_BINARY_SHA256, UWS_PACKAGE } from './uws-binaries.js';

const MIN_NODE = [20, 19] as const;
/** What uWS's builds ask of glibc: the one for Node 20 is older than those for 22 and up. */
const MIN_GLIBC_BY_MODULES: Readonly<Record<string, readonly [number, number]>> = {
  '115': [2, 27],
  '127': [2, 38],
  '137': [2, 38],
  '141': [2, 38],
};

interface Platform {
  readonly nodeVersion: string;
  readonly modules: string;
  readonly platform: string;
  readonly arch: string;
  /** undefined: not glibc (musl, or not Linux). */
  readonly glibc: string | undefined;
}

/** What this process runs on. */
export function currentPlatform(): Platform {
  const header = (process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined)?.header;
  return {
    nodeVersion: process.versions.node,
    modules: process.versions.modules,
    platform: process.platform,
    arch: process.arch,
    glibc: header?.glibcVersionRuntime,
  };
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [hasMajor = 0, hasMinor = 0] = version.split('.').map(Number);
  return hasMajor > major || (hasMajor === major && hasMinor >= minor);
}

/** Throws HalleyError with one clear sentence where the platform cannot work. */
export function checkPlatform(platform: Platform): void {
  const { nodeVersion, modules, glibc } = platform;
  if (!atLeast(nodeVersion, MIN_NODE)) {
    throw new HalleyError('NODE_TOO_OLD', `Halley needs Node ${MIN_NODE.join('.')} or newer`, { node: nodeVersion });
  }
  if (platform.platform !== 'linux') return;
  if (glibc === undefined) {
    throw new HalleyError(
      'NO_GLIBC',
      'uWebSockets.js is built for glibc; use a glibc image such as node:20-bookworm-slim',
      {
        platform: platform.platform,
      },
    );
  }
  const minGlibc = MIN_GLIBC_BY_MODULES[modules];
  if (minGlibc !== undefined && !atLeast(glibc, minGlibc)) {
    throw new HalleyError(
      'GLIBC_TOO_OLD',
      `the uWebSockets.js build for this Node needs glibc ${minGlibc.join('.')}; use Node 20, or a newer system`,
      { node: nodeVersion, glibc },
    );
  }
}

/**
 * Check that the uWebSockets.js binary for this platform is there and, for the pinned package, that it is the very file
 * that was reviewed. Another package (the author's own, see README) is taken as it is. Returns what was found.
 */
export function checkUwsBinary(platform: Platform): 'verified' | 'other package' {
  const require = createRequire(import.meta.url);
  const manifestPath = require.resolve('uWebSockets.js/package.json');
  const manifest = JSON.parse(readFileSync(manifestPath, 'utf8')) as { name: string; version: string };
  const file = `uws_${platform.platform}_${platform.arch}_${platform.modules}.node`;
  let binary: Uint8Array;
  try {
    binary = readFileSync(join(dirname(manifestPath), file));
  } catch (error) {
    throw new HalleyError(
      'UWS_NO_BUILD',
      'uWebSockets.js has no build for this platform and Node version; use Node 20 on Linux, macOS or Windows',
      { file, node: platform.nodeVersion },
      error,
    );
  }
  if (`${manifest.name}@${manifest.version}` !== UWS_PACKAGE) return 'other package';
  const sha256 = createHash('sha256').update(binary).digest('hex');
  const expected = UWS_BINARY_SHA256[file];
  if (expected === undefined) {
    throw new HalleyError(
      'UWS_NOT_REVIEWED',
      'the uWebSockets.js build for this Node version was never tested with Halley; use Node 20',
      { file, node: platform.nodeVersion },
    );
  }
  if (sha256 !== expected) {
    throw new HalleyError(
      'UWS_BINARY_CHANGED',
      'the uWebSockets.js binary is not the one this release was tested with; run npm ci again',
      { file, sha256, expected },
    );
  }
  return 'verified';
}

/** All checks, on the platform this process runs on. */
export function preflight(): void {
  const platform = currentPlatform();
  checkPlatform(platform);
  checkUwsBinary(platform);
}
