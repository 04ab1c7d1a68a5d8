// The SDK as one minified ES module for browsers: dist/client/halley-client.js. What the client does not name is left out,
// MessagePack first of all: `sideEffects` in package.json tells this bundler, as it tells a user's.
import { join } from 'node:path';
import { build } from 'esbuild';

/**
 * @param outfile undefined: nothing is written
 * @param entry contents of a module in src/client/ that stands in for its door, to see what a user's bundler would make of it
 */
export function clientBundle(root, outfile, entry) {
  return build({
    ...(entry === undefined
      ? { entryPoints: [join(root, 'src/client/bundle.ts')] }
      : { stdin: { contents: entry, resolveDir: join(root, 'src/client'), loader: 'ts' } }),
    ...(outfile === undefined ? { write: false } : { outfile }),
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2022',
    // Names of constants (`OP.AUTH`): no caller ever hands one in or reads one.
    mangleProps: /^[A-Z][A-Z_]+$/,
    // Of `Number`.
    reserveProps: /^(?:MAX|MIN|POSITIVE|NEGATIVE)_/,
    metafile: true,
    logLevel: 'warning',
  });
}
