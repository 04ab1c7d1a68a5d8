/** What is shipped for browsers: its size, what is not in it, and what a user's bundler makes of it. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAX_GZIP_BYTES = 12_000;

async function bundled(contents: string): Promise<{ readonly text: string; readonly inputs: string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: `${ROOT}/src/client`, loader: 'ts' },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2022',
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  const [output] = Object.values(metafile.outputs);
  const inputs = Object.entries(output!.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return { text: outputFiles[0]!.text, inputs: inputs.map(([path]) => path) };
}

describe('the bundle', () => {
  it('is at most 12,000 bytes gzipped, with WebSocket, server-sent events and long-poll', async () => {
    const bytes = await readFile(`${ROOT}/dist/client/halley-client.js`);
    const gzipBytes = gzipSync(bytes, { level: 9 }).length;
    expect(gzipBytes).toBeLessThanOrEqual(MAX_GZIP_BYTES);
    const text = bytes.toString();
    for (const name of ['websocket', 'sse', 'long-poll']) expect(text).toContain(`"${name}"`);
  });

  it('holds neither MessagePack nor the tables of texts, and nothing of Node', async () => {
    const { text, inputs } = await bundled("export { HalleyClient } from './index.js';");
    expect(inputs.filter((path) => /msgpackr|close-code|client-error|node:/.test(path))).toEqual([]);
    expect(text).not.toMatch(/\b(?:process|Buffer|require)\b[.(]/);
  });

  it('leaves out what is not named', async () => {
    const { text, inputs } = await bundled("export { ClientCore, settingsOf, webSocketTransport } from './index.js';");
    expect(inputs.filter((path) => /kim-client|sse|long-poll|http-session/.test(path))).toEqual([]);
    const { text: whole } = await bundled("export { HalleyClient } from './index.js';");
    expect(text.length).toBeLessThan(whole.length - 3_000);
  });

  it('ships types beside it', async () => {
    for (const file of ['index', 'bundle', 'tcp-transport']) {
      expect(await readFile(`${ROOT}/dist/client/${file}.d.ts`, 'utf8')).toContain('export');
    }
  });
});
