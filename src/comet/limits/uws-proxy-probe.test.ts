import { expect, it } from 'vitest';
import { readsProxyHeaders } from './uws-proxy-probe.js';

it('finds that the pinned binary reads PROXY protocol headers', async () => {
  expect(await readsProxyHeaders()).toBe(true);
});
