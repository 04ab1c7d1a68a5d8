import uWS, { type us_listen_socket } from 'uWebSockets.js';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { readsProxyHeaders, requireProxyHeaders } from './uws-proxy-probe.js';

const HEADER = Buffer.from('0d0a0d0a000d0a515549540a2111000ccb007105c000020200010002', 'hex');
const REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: test\r\n\r\n');

/** What a request gets whose PROXY header comes in one write with it, or in one of its own. */
function ask(chunks: readonly Buffer[]): Promise<string> {
  return new Promise((resolve) => {
    const app = uWS.App();
    app.get('/*', (res) => void res.end(new TextDecoder().decode(res.getProxiedRemoteAddressAsText()), true));
    app.listen('127.0.0.1', 0, (listening: us_listen_socket | false) => {
      if (listening === false) throw new Error('no port');
      const client = connect({ host: '127.0.0.1', port: uWS.us_socket_local_port(listening), noDelay: true });
      let answer = '';
      client.on('data', (chunk) => {
        answer += chunk;
      });
      client.on('error', () => client.destroy());
      client.on('close', () => {
        app.close();
        resolve(answer);
      });
      for (const [index, chunk] of chunks.entries()) setTimeout(() => client.write(chunk), index * 50);
    });
  });
}

it('finds what this binary does with a header that comes before the request', async () => {
  const together = await ask([Buffer.concat([HEADER, REQUEST])]);
  const apart = await ask([HEADER, REQUEST]);
  // Compiled in, whatever becomes of a header on its own.
  expect(together).toMatch(/203\.0\.113\.5$/);
  expect(await readsProxyHeaders()).toBe(apart.endsWith('203.0.113.5'));
});

it('refuses in one sentence that names the way out, where the binary does not keep it', async () => {
  const outcome = await requireProxyHeaders().then(
    () => 'kept',
    (error) => error.code,
  );
  expect(outcome).toBe((await readsProxyHeaders()) ? 'kept' : 'PROXY_PROTOCOL_UNSUPPORTED');
});
