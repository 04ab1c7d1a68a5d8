/**
 * The README's examples of the doors, run as they stand there but for the port: curl on the HTTP fallbacks, the SDK in Node, the
 * shipped bundle in a page.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, servePage } from './kit/chromium.js';
import { eventually, type HalleyProcess, pushRoom, startHalley } from './kit/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Inside the package, so that `import 'halley/client'` finds this checkout. */
let directory: string;
let halley: HalleyProcess;

/** The code block of the README that follows `<!-- example:NAME -->`, for the node of this test. */
async function example(name: string): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const [, rest = ''] = readme.split(`<!-- example:${name} -->`);
  const code = /^\s*```\w+\n([\s\S]*?)```/.exec(rest)?.[1];
  if (code === undefined) throw new Error(`the README has no example ${name}`);
  return code.replaceAll('127.0.0.1:3102', `127.0.0.1:${halley.wsPort}`);
}

beforeAll(async () => {
  directory = await mkdtemp(join(root, 'dist', '.example-'));
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
  await rm(directory, { recursive: true, force: true });
});

describe('the examples of the README', () => {
  it('take curl through all routes of the fallbacks', async () => {
    const shell = spawn('bash', ['-uc', await example('fallbacks.sh')], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (chunk) => (output += chunk));
    const ended = once(shell, 'close');
    await eventually(() => output.includes('live://2'), 10_000, `op 19 in: ${output}`);
    await pushRoom(halley.httpUrl, 'live://2', 'hello');
    // curl's own time limit ends the stream with 28, and the shell goes on.
    await ended;
    expect(output).toContain('{"cursor":1,"packets":[{"op":8,"seq":1,');
    expect(output).toContain('{"cursor":3,"packets":[{"op":3,"seq":0,"ver":1,"body":0},{"op":19,"seq":5,');
    expect(output).toMatch(
      /id: 4\ndata: \[\{"op":1000,"seq":0,"ver":1,"body":"hello","room":"live:\/\/2","epoch":\d+,"offset":1,/,
    );
  });

  it('connect the SDK in Node, join a room and print what comes', async () => {
    await writeFile(join(directory, 'client.mjs'), await example('client.mjs'));
    const child = spawn(process.execPath, ['client.mjs'], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    try {
      await eventually(() => output.includes('laptop is in live://2, at offset 0'), 15_000, `the join in: ${output}`);
      await pushRoom(halley.httpUrl, 'live://1000', 'hello');
      await eventually(() => output.includes('live://1000 1 hello'), 5_000, `a push in: ${output}`);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('connect the bundle in a page', async () => {
    const page = `<!doctype html><body>${await example('client.html')}</body>`;
    const served = await servePage(page);
    const browser = await launchChromium();
    try {
      const tab = await browser.newPage();
      await tab.goto(served.url);
      await eventually(
        async () => {
          await pushRoom(halley.httpUrl, 'live://1000', 'to the page');
          return (await tab.textContent('body'))?.includes('live://1000: to the page');
        },
        15_000,
        'the push on the page',
      );
    } finally {
      await browser.close();
      served.close();
    }
  });
});
