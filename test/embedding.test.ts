/**
 * The README's two examples, run as they stand there: the application module inside the program, and the library.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type HalleyProcess, post, startHalley, WireClient } from './kit/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Inside the package, so that `import 'halley'` finds this checkout. */
let directory: string;

/** The code block of the README that follows `<!-- example:NAME -->`. */
async function example(name: string): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const code = new RegExp(`<!-- example:${name.replace('.', '\\.')} -->\\s*\`\`\`js\\n([\\s\\S]*?)\`\`\``).exec(
    readme,
  )?.[1];
  if (code === undefined) throw new Error(`the README has no example ${name}`);
  return code;
}

beforeAll(async () => {
  directory = await mkdtemp(join(root, 'dist', '.example-'));
  for (const name of ['chat.mjs', 'embed.mjs']) await writeFile(join(directory, name), await example(name));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

describe('an application module given by --app', () => {
  let halley: HalleyProcess;
  beforeAll(async () => {
    halley = await startHalley({ args: ['--app', join(directory, 'chat.mjs')] });
  });
  afterAll(async () => {
    expect(await halley.stop()).toBe(0);
  });

  it('receives messages, answers them, and pushes to the room from inside', async () => {
    const sender = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'sender', roomId: 'live://1000' });
    const other = await WireClient.connect(halley.wsUrl, { mid: 2, key: 'other', roomId: 'live://1000' });
    expect((await sender.request(4, 'hello')).body.toString()).toBe('sent');
    expect((await sender.request(1234, 'again')).body.toString()).toBe('sent');
    for (const client of [sender, other]) {
      expect((await client.messageCount(2)).map((message) => message.text)).toEqual([
        'sender says hello',
        'sender says again',
      ]);
    }
    await sender.close();
    await other.close();
  });

  it('hears of the end of a channel once, and reaches a channel of whatever bucket by its key', async () => {
    const monitor = await WireClient.connect(halley.wsUrl, { mid: 9, key: 'monitor' });
    for (const key of ['a', 'b', 'c', 'd']) {
      const client = await WireClient.connect(halley.wsUrl, { mid: 3, key });
      await client.close();
    }
    const texts = (await monitor.messageCount(4)).map((message) => message.text);
    expect(texts.toSorted()).toEqual(['a left', 'b left', 'c left', 'd left']);
    await monitor.close();
  });
});

describe('the library', () => {
  it('runs a node in a program of one’s own, with the same application', async () => {
    const child = spawn(process.execPath, ['embed.mjs'], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const [, wsUrl = '', httpUrl = ''] = await eventually(
      () => /clients: (\S+), backends: (\S+)/.exec(output) ?? undefined,
      20_000,
      `addresses in: ${output}`,
    );
    const client = await WireClient.connect(wsUrl, { mid: 1, key: 'phone', roomId: 'live://1000', accepts: [1000] });
    expect((await client.request(4, 'hi')).body.toString()).toBe('sent');
    await post(`${httpUrl}goim/push/keys?operation=1000&keys=phone`, 'by http');
    const texts = (await client.messageCount(2)).map((message) => message.text);
    expect(texts.toSorted()).toEqual(['by http', 'phone says hi']);
    child.kill('SIGINT');
    expect(await client.closing()).toMatchObject({ code: 3000 });
    expect(await exited).toBe(0);
  });

  it('refuses wrong options with the rules and names of the configuration', async () => {
    const { createServer } = await import('../src/index.js');
    expect(() => createServer({ buckets: 99 })).toThrow(/buckets/);
    expect(() => createServer({ host: '0.0.0.0' })).toThrow(/auth\.mode/);
  });
});
