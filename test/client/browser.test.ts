/** The shipped bundle in a real browser against the real program. */
import { SignJWT } from 'jose';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, type ServedPage, servePage } from '../kit/chromium.js';
import { eventually, type HalleyProcess, post, pushRoom, startHalley } from '../kit/index.js';
import { type Cutter, startCutter } from './cutter.js';

/** Every event of every client goes to `log`; `start` makes a client. */
const PAGE = `<!doctype html><script type="module">
  import { HalleyClient } from '/halley-client.js';
  window.log = [];
  window.start = (options) => {
    const client = new HalleyClient({ mid: 7, backoff: { baseMs: 50, capMs: 200 }, ...options });
    for (const name of ['open', 'close', 'gap', 'recovered', 'reconnecting']) {
      client.on(name, (event) => log.push({ name, ...event }));
    }
    client.on('message', ({ body, room, offset }) => log.push({ name: 'message', text: body.text(), room, offset }));
    window.client = client;
    return client.connect();
  };
</script>`;

interface LogEntry {
  readonly name: string;
  readonly [member: string]: unknown;
}

let browser: Browser;
let served: ServedPage;
let halley: HalleyProcess;
let cutter: Cutter;
const pages: Page[] = [];

beforeAll(async () => {
  browser = await launchChromium();
  served = await servePage(PAGE);
  halley = await startHalley({
    env: { HALLEY_HISTORY_ROOMS: 'live:400:600', HALLEY_LOG_LEVEL: 'warn', HALLEY_RECONNECT_WINDOW_MS: '0' },
  });
  cutter = await startCutter(halley.wsPort);
});
afterEach(async () => {
  await Promise.all(pages.splice(0).map((page) => page.close()));
});
afterAll(async () => {
  await browser?.close();
  served?.close();
  await cutter?.close();
  expect(await halley.stop()).toBe(0);
});

async function started(options: object): Promise<Page> {
  const page = await browser.newPage();
  pages.push(page);
  await page.goto(served.url);
  await page.waitForFunction('window.start !== undefined');
  await page.evaluate(`start(${JSON.stringify(options)})`);
  return page;
}

/** The log once it holds so many entries of `name`. */
function logOf(page: Page, name: string, count = 1): Promise<LogEntry[]> {
  return eventually(
    async () => {
      const log = ((await page.evaluate('log')) as LogEntry[]).filter((entry) => entry.name === name);
      return log.length >= count ? log : undefined;
    },
    15_000,
    `${count} times ${name}`,
  );
}

describe('the bundle in Chromium', () => {
  it('connects, gets the pushes of its rooms, and recovers what came while the network was cut', async () => {
    const page = await started({ nodes: [cutter.wsUrl], rooms: ['live://web'] });
    expect((await logOf(page, 'open'))[0]).toMatchObject({ transport: 'websocket', isReconnect: false });
    await pushRoom(halley.httpUrl, 'live://web', '1');
    await logOf(page, 'message');
    cutter.refuse();
    await logOf(page, 'close');
    for (const text of ['2', '3']) await pushRoom(halley.httpUrl, 'live://web', text);
    cutter.accept();
    const messages = await logOf(page, 'message', 3);
    expect(messages.map(({ text, offset }) => [text, offset])).toEqual([
      ['1', 1],
      ['2', 2],
      ['3', 3],
    ]);
    expect(await logOf(page, 'recovered')).toMatchObject([{ room: 'live://web', messageCount: 2, to: 3 }]);
    expect((await page.evaluate('log')) as LogEntry[]).not.toContainEqual(expect.objectContaining({ name: 'gap' }));
  });

  it('stays closed when its key is taken over', async () => {
    const first = await started({ nodes: [halley.wsUrl], key: 'tab' });
    await started({ nodes: [halley.wsUrl], key: 'tab' });
    expect(await logOf(first, 'close')).toMatchObject([{ code: 3500, willReconnect: false }]);
    expect(await first.evaluate('client.state')).toBe('closed');
  });

  it('remembers the interval of its network in localStorage', async () => {
    const page = await started({ nodes: [halley.wsUrl], heartbeat: { minS: 1, stepS: 1, maxS: 3 } });
    const stored = await eventually(
      async () =>
        (await page.evaluate('Object.entries(localStorage).find(([key]) => key.startsWith("halley."))?.[1]')) as string,
      15_000,
      'an interval in localStorage',
    );
    expect(stored).toMatch(/^[23]:0$/);
  });
});

it('the bundle comes back when its node restarts, and is told that the room began anew', async () => {
  let node = await startHalley();
  const ports = ['--ws-port', String(node.wsPort), '--http-port', String(node.httpPort)];
  try {
    const page = await started({ nodes: [node.wsUrl], room: 'live://restart' });
    await node.stop();
    expect((await logOf(page, 'close'))[0]).toMatchObject({ code: 3000, willReconnect: true });
    node = await startHalley({ args: ports });
    await logOf(page, 'open', 2);
    expect(await logOf(page, 'gap')).toMatchObject([{ room: 'live://restart', isNewEpoch: true }]);
    await pushRoom(node.httpUrl, 'live://restart', 'after');
    expect(await logOf(page, 'message')).toMatchObject([{ text: 'after', room: 'live://restart' }]);
  } finally {
    await node.stop();
  }
});

it('the bundle fetches a new token when the old one has ended', async () => {
  const secret = 'a-secret-of-at-least-thirty-two-bytes';
  const node = await startHalley({ env: { HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: secret } });
  try {
    const sign = (by: string) =>
      new SignJWT({ mid: 9 }).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(by));
    const page = await browser.newPage();
    pages.push(page);
    await page.goto(served.url);
    await page.waitForFunction('window.start !== undefined');
    const tokens = [await sign('another-secret-of-thirty-two-bytes!!'), await sign(secret)];
    await page.evaluate(
      `start({ nodes: ['${node.wsUrl}'], mid: 9, token: async () => ${JSON.stringify(tokens)}[window.n = (window.n ?? -1) + 1] })`,
    );
    expect(await page.evaluate('[client.state, n]')).toEqual(['open', 1]);
    await post(`${node.httpUrl}/halley/disconnect`, { mids: [9], code: 3505, reason: 'ended', reconnect: true });
  } finally {
    await node.stop();
  }
});
