/**
 * The fallbacks in a real browser, from a page of another origin: EventSource, fetch and sendBeacon as they are.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchChromium } from './kit/chromium.js';
import { FallbackClient } from './kit/fallback-client.js';
import { eventually, type HalleyProcess, pushRoom, startHalley } from './kit/index.js';

let browser: Browser;
let halley: HalleyProcess;
let page: Page;

beforeAll(async () => {
  browser = await launchChromium();
  halley = await startHalley();
  page = await (await browser.newContext({ bypassCSP: true })).newPage();
  // The API's port: another origin than the comet's.
  await page.goto(`${halley.httpUrl}/`);
});
afterAll(async () => {
  await browser?.close();
  await halley?.stop();
});

test('EventSource, polls, posts and sendBeacon work across origins, one behind the other in the same session', async () => {
  const base = FallbackClient.base(halley.wsUrl);
  const session = await page.evaluate(
    `fetch('${base}/sub/connect', { method: 'POST', body: JSON.stringify({ mid: 0, key: 'browser', room_id: 'b://1', halley: 1 }) })
      .then((answer) => answer.json()).then(({ session }) => session)`,
  );
  await page.evaluate(`(() => {
    window.seen = []; window.opens = 0; window.closes = [];
    window.source = new EventSource('${base}/sub/sse?format=json&session=${String(session)}');
    source.onopen = () => { opens += 1; };
    source.onmessage = ({ data, lastEventId }) => { for (const packet of JSON.parse(data)) seen.push([packet.op, packet.body, lastEventId]); };
    source.addEventListener('close', ({ data }) => { closes.push(JSON.parse(data)); source.close(); });
  })()`);
  const seen = (): Promise<[number, string, string][]> => page.evaluate('window.seen');
  await eventually(async () => (await seen()).length === 1);
  await pushRoom(halley.httpUrl, 'b://1', 'one');
  await eventually(async () => (await seen()).length === 2);

  const client = new FallbackClient(base, String(session));
  await page.evaluate(`source.close(); window.source = undefined;`);
  await pushRoom(halley.httpUrl, 'b://1', 'two');
  const polled = await page.evaluate(
    `fetch('${base}/sub/poll?format=json&wait_ms=5000&cursor=2&session=${client.session}')
      .then(async (answer) => [answer.status, answer.headers.get('halley-cursor'), (await answer.json()).packets[0].body])`,
  );
  expect(polled).toEqual([200, '3', 'two']);
  // With a content type that asks for a preflight.
  const sent = await page.evaluate(
    `fetch('${base}/sub/send?session=${client.session}', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"op":2,"seq":3}' })
      .then((answer) => answer.status)`,
  );
  expect(sent).toBe(204);
  expect(await page.evaluate(`navigator.sendBeacon('${base}/sub/close?session=${client.session}')`)).toBe(true);
  client.cursor = 3;
  await eventually(async () => (await client.poll(0)).status === 410);
});

test('an EventSource whose connection is cut comes back with the id of the last event it saw', async () => {
  const base = FallbackClient.base(halley.wsUrl);
  const session: string = await page.evaluate(
    `fetch('${base}/sub/connect', { method: 'POST', body: JSON.stringify({ mid: 0, key: 'cut', room_id: 'b://2', halley: 1 }) })
      .then((answer) => answer.json()).then(({ session }) => session)`,
  );
  const context = page.context();
  await page.evaluate(`(() => {
    window.bodies = []; window.opens = 0;
    window.source = new EventSource('${base}/sub/sse?format=json&session=${session}');
    source.onopen = () => { opens += 1; };
    source.onmessage = ({ data }) => { for (const packet of JSON.parse(data)) if (packet.op === 1000) bodies.push(packet.body); };
  })()`);
  await eventually(async () => (await page.evaluate('window.opens')) === 1);
  for (let index = 0; index < 3; index++) await pushRoom(halley.httpUrl, 'b://2', `before ${index}`);
  await eventually(async () => (await page.evaluate('window.bodies.length')) === 3);
  await context.setOffline(true);
  for (let index = 0; index < 3; index++) await pushRoom(halley.httpUrl, 'b://2', `while away ${index}`);
  await context.setOffline(false);
  await pushRoom(halley.httpUrl, 'b://2', 'back');
  await eventually(async () => (await page.evaluate('window.bodies.length')) === 7, 20_000);
  expect(await page.evaluate('window.bodies')).toEqual([
    ...[0, 1, 2].map((index) => `before ${index}`),
    ...[0, 1, 2].map((index) => `while away ${index}`),
    'back',
  ]);
});
