import { afterEach, describe, expect, it } from 'vitest';
import { ApiHarness } from './fixtures/api-harness.js';
import type { HttpApiDeps } from './http-api.js';

const open: ApiHarness[] = [];
afterEach(() => {
  for (const api of open.splice(0)) api.api.close();
});

async function start(overrides: Partial<HttpApiDeps> = {}): Promise<ApiHarness> {
  const api = await new ApiHarness(overrides).start();
  open.push(api);
  return api;
}

describe('pages', () => {
  const body = Buffer.from('<p>hi</p>');
  const pages = new Map([['/', { contentType: 'text/html; charset=utf-8', body }]]);

  it('are served with validator, nosniff and a strict policy, and not sent again', async () => {
    const api = await start({ pages });
    const page = await api.get('/');
    expect([page.status, page.headers['content-type'], page.text]).toEqual([
      200,
      'text/html; charset=utf-8',
      '<p>hi</p>',
    ]);
    expect(page.headers['x-content-type-options']).toBe('nosniff');
    expect(page.headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'");
    const etag = page.headers.etag as string;
    for (const match of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await api.get('/', { 'If-None-Match': match });
      expect([again.status, again.text, again.headers.etag]).toEqual([304, '', etag]);
    }
    expect((await api.get('/', { 'If-None-Match': '"other"' })).status).toBe(200);
    const head = await api.request('HEAD', '/');
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', String(body.byteLength)]);
    expect((await api.post('/')).status).toBe(404);
  });
});
