/**
 * Finds out whether the uWebSockets.js binary that is loaded reads PROXY protocol headers as proxies send them: in a segment
 * of their own, before the request. Builds differ. The Node 20 binary of the pinned package has the parser and reads a header
 * that comes in one read with the request, but answers 505 to both where they come in two (as it does to a request line in two
 * reads), and a proxy that writes its header first would lose its clients. So one connection is made to a port of our own, on the loopback
 * interface, and looked at.
 *
 * Threads: control thread; at the start of a node, before any port is open. Takes some milliseconds.
 */

import uWS, { type us_listen_socket } from 'uWebSockets.js';
import { connect } from 'node:net';
import { HalleyError } from '../../errors/index.js';

const LOOPBACK = '127.0.0.1';
const DEADLINE_MS = 2000;
const PROBE_ADDRESS = '192.0.2.1';
/** Of version 2, over IPv4, from 192.0.2.1:1 to 192.0.2.2:2. */
const HEADER = Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000201c000020200010002', 'hex');
const REQUEST = 'GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n';
/** Between the two, so that they are two reads; many turns of the loop. */
const APART_MS = 20;
const addressText = new TextDecoder('latin1');

/** False also where the probe cannot be made: no promise can be given then. */
export function readsProxyHeaders(): Promise<boolean> {
  return new Promise((resolve) => {
    const app = uWS.App();
    app.get('/*', (res) => {
      const address =
        'getProxiedRemoteAddressAsText' in res ? addressText.decode(res.getProxiedRemoteAddressAsText()) : '';
      res.end(address, true);
    });
    app.listen(LOOPBACK, 0, (listening: us_listen_socket | false) => {
      if (listening === false) {
        resolve(false);
        return;
      }
      let answer = '';
      const client = connect({ host: LOOPBACK, port: uWS.us_socket_local_port(listening) });
      client.setTimeout(DEADLINE_MS, () => client.destroy());
      client.setNoDelay(true);
      client.on('connect', () => {
        client.write(HEADER);
        setTimeout(() => client.write(REQUEST), APART_MS);
      });
      client.on('data', (chunk) => {
        answer += chunk.toString('latin1');
      });
      // Where the header is not read, uWS closes or answers 400; either way the answer is not the address.
      client.on('error', () => client.destroy());
      client.on('close', () => {
        app.close();
        resolve(answer.endsWith(`\r\n\r\n${PROBE_ADDRESS}`));
      });
    });
  });
}

/** @throws HalleyError PROXY_PROTOCOL_UNSUPPORTED where `limits.proxy_protocol = "v2"` cannot be kept */
export async function requireProxyHeaders(): Promise<void> {
  if (await readsProxyHeaders()) return;
  throw new HalleyError(
    'PROXY_PROTOCOL_UNSUPPORTED',
    'limits.proxy_protocol must not be v2 with this uWebSockets.js binary, which loses PROXY protocol headers that arrive before the request: set it to v2-tcp, and let the proxy of the WebSocket name clients in the header of http.forwarded_header (http.trusted_proxies)',
    { node: process.version },
  );
}
