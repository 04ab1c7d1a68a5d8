import { afterEach, describe, expect, it } from 'vitest';
import { HalleyError } from '../../errors/index.js';
import { AccessGuard } from './access-guard.js';
import { ApiHarness } from './fixtures/api-harness.js';
import { ROUTES } from './routes.js';

const OPEN_PATHS = ['/health', '/ready', '/goim/nodes/weighted', '/halley/nodes', '/halley/httpdns'];

const open: ApiHarness[] = [];
afterEach(() => {
  for (const api of open.splice(0)) api.api.close();
});

async function start(apiToken?: string): Promise<ApiHarness> {
  const pages = new Map([['/', { contentType: 'text/html; charset=utf-8', body: Buffer.from('<p>hi') }]]);
  const api = await new ApiHarness({ apiToken, pages }).start();
  open.push(api);
  return api;
}

describe('an API token', () => {
  it('is asked for by every route but health, readiness, where to connect, and pages', async () => {
    const api = await start('s3cret');
    for (const { method, path } of ROUTES) {
      const answer = await api.request(method, path);
      const isOpen = OPEN_PATHS.includes(path);
      expect([path, answer.status]).toEqual([path, isOpen ? 200 : 401]);
      if (isOpen) continue;
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="halley"');
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
      expect(answer.json).toEqual({ code: -401, message: expect.stringContaining('Authorization: Bearer') });
    }
    expect((await api.get('/')).status).toBe(200);
    expect(api.pusher.commands).toEqual([]);
  });

  it.each([
    ['Bearer s3cret', 200],
    ['bearer   s3cret', 200],
    ['Bearer s3cre', 401],
    ['Bearer s3cret2', 401],
    ['Bearer S3CRET', 401],
    ['Bearer', 401],
    ['Bearer ', 401],
    ['Basic s3cret', 401],
    ['s3cret', 401],
  ])('%j gives %i', async (authorization, status) => {
    const api = await start('s3cret');
    const answer = await api.post('/goim/push/keys?keys=a', 'x', { Authorization: authorization });
    expect(answer.status).toBe(status);
    expect(answer.text).not.toContain('s3cret');
    expect(api.pusher.commands.length).toBe(status === 200 ? 1 : 0);
  });

  it('may hold characters beyond ASCII, as UTF-8', async () => {
    const api = await start('geheimnisträger');
    const authorization = Buffer.from('Bearer geheimnisträger').toString('latin1');
    // As bytes: before a text node's client would encode the header once more.
    const answer = await api.post('/goim/push/keys?keys=a', Buffer.from('x'), { Authorization: authorization });
    expect(answer.status).toBe(200);
  });

  it('replaces the Origin rule: who has it may push from any page', async () => {
    const api = await start('s3cret');
    const headers = { Authorization: 'Bearer s3cret', Origin: 'https://admin.example.com' };
    expect((await api.post('/goim/push/keys?keys=a', 'x', headers)).status).toBe(200);
  });

  it('must not be empty', () => {
    expect(() => new AccessGuard('', '127.0.0.1')).toThrow(HalleyError);
  });
});

describe('without a token on loopback', () => {
  it.each([
    ['http://localhost:PORT', 'localhost:PORT', 200],
    ['http://127.0.0.1:PORT', '127.0.0.1:PORT', 200],
    ['http://LOCALHOST:PORT', 'localhost:PORT', 200],
    ['http://[::1]:PORT', '[::1]:PORT', 200],
    // A port forwarded from elsewhere (ssh -L 8080:localhost:3111).
    ['http://localhost:8080', 'localhost:8080', 200],
    ['https://evil.example', '127.0.0.1:PORT', 403],
    ['null', '127.0.0.1:PORT', 403],
    ['file://', '127.0.0.1:PORT', 403],
    ['http://localhost:3000', 'localhost:PORT', 403],
    ['http://127.0.0.1', '127.0.0.1:PORT', 403],
    ['http://localhost.evil.example:PORT', '127.0.0.1:PORT', 403],
    ['http://127.0.0.1.evil.example:PORT', '127.0.0.1:PORT', 403],
    // DNS rebinding: the page's name resolves to 127.0.0.1, so Origin and Host agree.
    ['http://evil.example:PORT', 'evil.example:PORT', 403],
    ['nonsense', '127.0.0.1:PORT', 403],
  ])('a page of %s that posts to %s gets %i', async (origin, host, status) => {
    const api = await start();
    const withPort = (text: string) => text.replace('PORT', String(api.port));
    const headers = { Origin: withPort(origin), Host: withPort(host) };
    const answer = await api.post('/goim/push/keys?keys=a', 'x', headers);
    expect(answer.status).toBe(status);
    expect(api.pusher.commands.length).toBe(status === 200 ? 1 : 0);
    if (status === 403) expect(answer.json).toEqual({ code: -403, message: expect.stringContaining('origin=') });
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  });

  it('every state-changing route refuses a foreign page, reading routes show it nothing by CORS', async () => {
    const api = await start();
    for (const { method, path } of ROUTES) {
      const answer = await api.request(method, path, { headers: { Origin: 'https://evil.example' } });
      if (method === 'POST') expect([path, answer.status]).toEqual([path, 403]);
      expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    }
  });

  it('refuses a preflight by sending no permission', async () => {
    const api = await start();
    const answer = await api.request('OPTIONS', '/halley/disconnect', {
      headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' },
    });
    expect([answer.status, answer.headers.allow]).toEqual([204, 'POST, OPTIONS']);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

describe('on an address that others reach', () => {
  it("takes the request's own host as its own, whatever its name", () => {
    const guard = new AccessGuard(undefined, '0.0.0.0');
    const headers = { authorization: '', origin: 'https://push.example', host: 'push.example' };
    expect(guard.refusal(true, headers)).toBeUndefined();
    expect(guard.refusal(true, { ...headers, origin: 'https://other.example' })?.status).toBe(403);
  });
});
