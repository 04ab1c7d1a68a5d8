/** For tests: the system's Chromium, and pages of the shipped bundle. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium } from 'playwright-core';

const BUNDLE = fileURLToPath(new URL('../../dist/client/halley-client.js', import.meta.url));
const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Playwright gives every launch a fresh user-data-dir. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS });
}

export interface ServedPage {
  readonly url: string;
  close(): void;
}

/** `html` on a port of its own, at any path but /halley-client.js, which is the bundle. */
export async function servePage(html: string): Promise<ServedPage> {
  const bundle = await readFile(BUNDLE);
  const server = createServer(({ url }, response) => {
    const isBundle = url === '/halley-client.js';
    response.setHeader('content-type', isBundle ? 'text/javascript' : 'text/html');
    response.end(isBundle ? bundle : html);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close: () => server.close() };
}
