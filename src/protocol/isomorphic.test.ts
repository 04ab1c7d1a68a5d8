/**
 * The folder runs in browsers: bundled for one it needs no Node module, and the bundle works in a context that has what
 * browsers have and nothing of Node (no Buffer, no process, no require).
 */
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const ENTRY = fileURLToPath(new URL('./index.ts', import.meta.url));

function bundle(contents?: string) {
  return build({
    ...(contents === undefined
      ? { entryPoints: [ENTRY] }
      : { stdin: { contents, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'ts' } }),
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'protocol',
    target: 'es2022',
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
}

describe('the protocol folder', () => {
  it('bundles for browsers from its own files, errors/ and the pure part of msgpackr', async () => {
    const { metafile } = await bundle();
    const inputs = Object.keys(metafile.inputs).map((path) => path.replace(/^.*?(src|node_modules)\//, '$1/'));
    expect(inputs.length).toBeGreaterThan(20);
    for (const path of inputs) expect(path).toMatch(/^(src\/protocol|src\/errors|node_modules\/msgpackr)\//);
    expect(inputs).not.toContain('node_modules/msgpackr/node-index.js');
  });

  it('would fail this test if a file imported a Node module', async () => {
    await expect(bundle("export { readFileSync } from 'node:fs';")).rejects.toThrow('node:fs');
  });

  it('works without Node’s globals', async () => {
    const { outputFiles } = await bundle();
    const context = createContext({ TextEncoder, TextDecoder, atob, btoa });
    runInContext(outputFiles[0]!.text, context);
    const result: unknown = runInContext(
      `(() => {
        const auth = protocol.parseAuthBody(protocol.encodeAuthBody({ mid: 7, rooms: ['a'], extended: true }));
        const stream = new protocol.PacketStream(() => 4096);
        stream.feed(protocol.encodePacket(protocol.OP.HEARTBEAT, 5, 1));
        const outcome = stream.next();
        const body = { text: 'ä'.repeat(50), list: [1, 2 ** 40, null] };
        const command = { target: { kind: 'all' }, op: 1000, body: new Uint8Array([1, 2]), speed: 0 };
        return JSON.stringify({
          nodeGlobals: [typeof Buffer, typeof process, typeof require],
          auth: auth.ok && auth.value.mid,
          outcome,
          seq: stream.header.seq,
          bodies: protocol.CODECS.map((codec) => protocol.decodeBody(codec, protocol.encodeBody(codec, body)).value),
          pushes: protocol.CODECS.map((codec) =>
            protocol.parsePushCommand(protocol.encodePushCommand(codec, command)).value.body.length),
        });
      })()`,
      context,
    );
    const body = { text: 'ä'.repeat(50), list: [1, 2 ** 40, null] };
    expect(JSON.parse(String(result))).toEqual({
      nodeGlobals: ['undefined', 'undefined', 'undefined'],
      auth: 7,
      outcome: 0,
      seq: 5,
      bodies: [body, body],
      pushes: [2, 2],
    });
  });
});
