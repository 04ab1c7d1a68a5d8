/**
 * The first page in a real browser against the real program.
 */
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium } from './kit/chromium.js';
import { eventually, get, type HalleyProcess, post, pushRoom, startHalley, WireClient } from './kit/index.js';

let browser: Browser;
let halley: HalleyProcess;
/** What went wrong inside the pages of a test: console errors (a violation of the policy is one) and exceptions. */
let faults: string[] = [];
let contexts: BrowserContext[] = [];

beforeAll(async () => {
  browser = await launchChromium();
  halley = await startHalley();
});
afterEach(async () => {
  await Promise.all(contexts.map((context) => context.close()));
  contexts = [];
  faults = [];
});
afterAll(async () => {
  await browser?.close();
  expect(await halley?.stop()).toBe(0);
});

async function newContext(options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 820 }, ...options });
  contexts.push(context);
  return context;
}

async function openPage(context: BrowserContext, httpUrl = halley.httpUrl): Promise<Page> {
  const page = await context.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  await page.goto(`${httpUrl}/`);
  return page;
}

async function openOnline(options: BrowserContextOptions = {}): Promise<Page> {
  const page = await openPage(await newContext(options));
  await phase(page, 'online');
  return page;
}

function phase(page: Page, name: string, deadlineMs = 20_000): Promise<unknown> {
  return page.waitForSelector(`#status[data-phase=${name}]`, { timeout: deadlineMs });
}

/** Wait until the text of `selector` matches. */
function text(page: Page, selector: string, pattern: RegExp, deadlineMs = 10_000): Promise<true> {
  let seen = '';
  return eventually(
    async () => {
      seen = (await page.textContent(selector)) ?? '';
      return pattern.test(seen) ? true : undefined;
    },
    deadlineMs,
    `${selector} matches ${pattern}`,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}, but it is ${JSON.stringify(seen.slice(-300))}`);
  });
}

/** Text of every row of the log. */
function rows(page: Page): Promise<string[]> {
  return page.locator('#log li').allTextContents();
}

function rowLike(page: Page, pattern: RegExp): Promise<string> {
  return eventually(async () => (await rows(page)).find((row) => pattern.test(row)), 10_000, `a row like ${pattern}`);
}

describe('the page', () => {
  test('comes with a strict policy, needs nothing from elsewhere, and goes online without a complaint', async () => {
    const reply = await fetch(`${halley.httpUrl}/`);
    const policy = reply.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toContain('unsafe');
    const html = await reply.text();
    expect(html).not.toMatch(/<style|style=|<script>| on[a-z]+=/);

    const context = await newContext();
    const hosts = new Set<string>();
    context.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:') hosts.add(url.host);
    });
    const page = await openPage(context);
    await phase(page, 'online');
    expect(await page.inputValue('#url')).toBe(halley.wsUrl);
    expect(await page.inputValue('#key')).toMatch(/^web-[0-9a-f]{10}$/);
    expect([...hosts]).toEqual([new URL(halley.httpUrl).host]);
    await text(page, '#rooms', /live:\/\/1000.*primary, offset \d+/);
    expect(faults).toEqual([]);
  });

  test('shows what its form pushes, with the code of the reply', async () => {
    const page = await openOnline();
    await text(page, '#rooms', /offset/);
    await page.fill('#body', '{"n":1,"id":9007199254740993}');
    await page.click('#push');
    await text(page, '#push-reply', /^HTTP 200, code 0 /);
    expect(await rowLike(page, /9007199254740993/)).toMatch(
      /1000live:\/\/1000 #\d+\{"n": 1, "id": 9007199254740993\}$/,
    );

    const key = await page.inputValue('#key');
    for (const [target, to] of [
      ['key', key],
      ['mid', '1'],
    ] as const) {
      await page.check(`input[name=target][value=${target}]`);
      expect(await page.inputValue('#to')).toBe(to);
      await page.fill('#body', `by ${target}`);
      await page.click('#push');
      await rowLike(page, new RegExp(`1000directby ${target}$`));
    }
    await page.check('input[name=target][value=all]');
    await page.fill('#body', 'by all');
    await page.fill('#op', '1001');
    await page.click('#push');
    await rowLike(page, /1001all #\d+by all$/);
    expect(faults).toEqual([]);
  });

  test('shows a push that comes by HTTP from outside, and counts it', async () => {
    const page = await openOnline();
    await text(page, '#rooms', /offset/);
    await pushRoom(halley.httpUrl, 'live://1000', 'from outside');
    await rowLike(page, /from outside$/);
    await text(page, '#received', /^1$/);
    await text(page, '#mean-batch', /^1\.0$/);
    expect(await page.textContent('#gaps')).toBe('0');
    expect(faults).toEqual([]);
  });

  test('copies a curl command that follows the form', async () => {
    const page = await openOnline({ permissions: ['clipboard-read', 'clipboard-write'] });
    await page.check('input[name=target][value=mid]');
    await page.fill('#to', '1,2');
    await page.fill('#body', "it's me");
    await page.click('#copy');
    await text(page, '#copy', /^Copied$/);
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(
      `curl --data-raw 'it'\\''s me' '${halley.httpUrl}/goim/push/mids?operation=1000&mids=1&mids=2'`,
    );
    await page.fill('#to', 'nobody');
    await text(page, '#curl', /^# A mid is a whole number/);
    expect(await page.isDisabled('#copy')).toBe(true);
    expect(faults).toEqual([]);
  });

  test('counts the members of its room', async () => {
    const other = await WireClient.connect(halley.wsUrl, { mid: 5, key: 'other', roomId: 'live://1000', accepts: [] });
    const page = await openOnline();
    await text(page, '#members', /^2$/);
    await text(page, '#round-trip', /^heartbeat \d+\.\d ms$/);
    await other.close();
    expect(faults).toEqual([]);
  });

  test('joins and leaves rooms, with their offsets, and names the reason of a refusal', async () => {
    const page = await openOnline();
    await text(page, '#rooms', /offset/);
    await page.fill('#join-room', 'chat://team/1');
    await page.click('#join');
    await text(page, '#rooms', /chat:\/\/team\/1joined, offset 0/);
    await pushRoom(halley.httpUrl, 'chat://team/1', 'to the team');
    await rowLike(page, /chat:\/\/team\/1 #1to the team$/);
    await text(page, '#rooms', /chat:\/\/team\/1joined, offset 1/);
    await page.fill('#join-room', 'x'.repeat(300));
    await page.click('#join');
    await text(page, '#rooms', /refused: 101/);
    await page.getByRole('button', { name: 'Leave chat://team/1' }).click();
    await eventually(async () => !((await page.textContent('#rooms')) ?? '').includes('team'), 10_000, 'room left');
    expect(faults).toEqual([]);
  });

  test('speaks goim without the extension: one room, which moves', async () => {
    const page = await openOnline();
    await page.uncheck('#extended');
    await page.click('#connect');
    await text(page, '#join', /^Move$/);
    await phase(page, 'online');
    await page.fill('#join-room', 'live://77');
    await page.click('#join');
    await text(page, '#rooms', /^live:\/\/77primaryLeave$/);
    await pushRoom(halley.httpUrl, 'live://77', 'plainly');
    await rowLike(page, /1000plainly$/);
    expect(faults).toEqual([]);
  });

  test('gives a second tab of the same browser a key of its own, so that it takes nothing over', async () => {
    const context = await newContext();
    const first = await openPage(context);
    await phase(first, 'online');
    const second = await openPage(context);
    await phase(second, 'online');
    const key = await first.inputValue('#key');
    expect(await second.inputValue('#key')).toBe(`${key}-2`);
    await first.close();
    await second.reload();
    await phase(second, 'online');
    expect(await second.inputValue('#key')).toBe(key);
    expect(faults).toEqual([]);
  });

  test('stops when the backend sends it away, and says why', async () => {
    const page = await openOnline();
    const key = await page.inputValue('#key');
    const answer = await post(`${halley.httpUrl}/halley/disconnect`, {
      keys: [key],
      code: 3501,
      reason: 'enough',
      reconnect: false,
    });
    expect(answer.data).toEqual({ count: 1 });
    await phase(page, 'closed');
    await text(page, '#status-text', /^Closed 3501 enough\. Not reconnecting$/);
    await page.click('#connect');
    await phase(page, 'online');
    expect(faults).toEqual([]);
  });

  test('keeps at most 200 rows, the newest, however much arrives, and stands still while paused', async () => {
    const page = await openOnline();
    await text(page, '#rooms', /offset/);
    const commands = Array.from({ length: 1000 }, (_, n) => ({
      room: 'live://1000',
      op: 1000,
      body: `burst ${n + 1}`,
    }));
    await post(`${halley.httpUrl}/halley/push/batch`, commands);
    await text(page, '#received', /^1,000$/);
    await rowLike(page, /burst 1000$/);
    const shown = await rows(page);
    expect(shown).toHaveLength(200);
    expect([shown[0], shown[199]].map((row) => /burst (\d+)$/.exec(row ?? '')?.[1])).toEqual(['801', '1000']);
    expect(await page.textContent('#gaps')).toBe('0');

    await page.click('#pause');
    await pushRoom(halley.httpUrl, 'live://1000', 'unseen');
    await text(page, '#latest', /^1 new ↓$/);
    expect((await rows(page)).at(-1)).toMatch(/burst 1000$/);
    await page.click('#latest');
    await rowLike(page, /unseen$/);
    expect(faults).toEqual([]);
  });

  test('fits a phone, in the dark too', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await openOnline({
        viewport: { width: 390, height: 844 },
        isMobile: true,
        hasTouch: true,
        colorScheme,
      });
      await text(page, '#rooms', /offset/);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
      await page.tap('#push');
      await text(page, '#push-reply', /code 0/);
      await rowLike(page, /hello from the first page/);
    }
    expect(faults).toEqual([]);
  });
});

test('the page comes back by itself when its node restarts on the same ports', async () => {
  // The node asks its clients to spread over this time.
  const env = { HALLEY_RECONNECT_WINDOW_MS: '1000' };
  let node = await startHalley({ env });
  const ports = [
    '--ws-port',
    String(node.wsPort),
    '--tcp-port',
    String(node.tcpPort),
    '--http-port',
    String(node.httpPort),
  ];
  try {
    const page = await openPage(await newContext(), node.httpUrl);
    await phase(page, 'online');
    await node.stop();
    await phase(page, 'waiting');
    await text(page, '#log', /3000 .*; come back/);
    node = await startHalley({ args: ports, env });
    await phase(page, 'online', 25_000);
    await text(page, '#rooms', /live:\/\/1000primary, offset/);
    await pushRoom(node.httpUrl, 'live://1000', 'after the restart');
    await rowLike(page, /after the restart$/);
    // While the node was down the browser itself reported refused connections, and nothing else.
    expect(faults.filter((fault) => !/WebSocket connection to .* failed/.test(fault))).toEqual([]);
  } finally {
    await node.stop();
  }
});

test('the page asks for the API token where a push answers 401, and says what the auth of a jwt node misses', async () => {
  const node = await startHalley({
    env: { HALLEY_HTTP_TOKEN: 't'.repeat(24), HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: 's'.repeat(32) },
  });
  try {
    const page = await openPage(await newContext(), node.httpUrl);
    // The address of the WebSocket stands behind the token too, so the page could only guess.
    await page.fill('#url', node.wsUrl);
    await page.click('#connect');
    await phase(page, 'closed');
    await text(page, '#status-text', /^Closed 3505 .*token/);

    await page.click('#push');
    await text(page, '#push-reply', /^HTTP 401, code -401, /);
    expect(await page.evaluate('document.activeElement.id')).toBe('api-token');
    await page.fill('#api-token', 't'.repeat(24));
    await page.click('#push');
    await text(page, '#push-reply', /^HTTP 200, code 0 /);
    await text(page, '#curl', /Authorization: Bearer \$HALLEY_HTTP_TOKEN/);
    expect(await page.textContent('body')).not.toContain('t'.repeat(24));
  } finally {
    await node.stop();
  }
});

test('the links at the foot of the page lead somewhere', async () => {
  const page = await openOnline();
  const links = await page.locator('footer a').evaluateAll((anchors) => anchors.map((anchor) => String(anchor)));
  expect(links).toHaveLength(4);
  for (const link of links) expect((await get(link)).status).toBe(200);
});
