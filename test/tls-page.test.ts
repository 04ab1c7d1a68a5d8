/**
 * The first page in a real browser over https: its socket goes over TLS too, and through a reload.
 */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchChromium } from './kit/chromium.js';
import {
  eventually,
  type HalleyProcess,
  makeTlsDirectory,
  secureCall,
  startHalley,
  type TlsDirectory,
  tlsEnv,
} from './kit/index.js';

let browser: Browser;
let halley: HalleyProcess;
let tls: TlsDirectory;

beforeAll(async () => {
  tls = await makeTlsDirectory();
  browser = await launchChromium();
  halley = await startHalley({
    env: {
      ...tlsEnv(tls.own),
      HALLEY_TLS_HTTP: 'on',
    },
  });
});
afterAll(async () => {
  await browser?.close();
  expect(await halley?.stop()).toBe(0);
  await tls?.remove();
});

test('the page comes over https, goes online over wss, and shows what is pushed', async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  const sockets: string[] = [];
  page.on('websocket', (socket) => sockets.push(socket.url()));
  await page.goto(`${halley.httpUrl}/`);
  await page.waitForSelector('#status[data-phase=online]', { timeout: 10_000 });
  expect(sockets).toEqual([halley.wssUrl]);
  expect(await page.evaluate('isSecureContext')).toBe(true);
  await eventually(async () => /offset/.test((await page.textContent('#rooms')) ?? ''), 10_000, 'the room');
  await page.fill('#body', 'from the form');
  await page.click('#push');
  await secureCall(
    `${halley.httpUrl}/goim/push/room?operation=1000&type=live&room=1000`,
    tls.ca,
    'POST',
    'from outside',
  );
  for (const text of ['from the form', 'from outside']) {
    await eventually(
      async () => (await page.locator('#log li').allTextContents()).some((row) => row.endsWith(text)),
      10_000,
      text,
    );
  }
  expect(faults).toEqual([]);
  await context.close();
});
