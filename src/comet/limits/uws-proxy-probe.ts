/**
 * Finds out whether the uWebSockets.js binary that is loaded reads PROXY protocol headers: builds differ (UWS_WITH_PROXY), and
 * the functions exist in all of them. So one connection is made to a port of our own, on the loopback interface, and looked at.
 *
 * Threads: any; at the start of a bucket, before its port is open. Takes some milliseconds.
 */

import uWS, { type us_listen_socket } from 'uWebSockets.js';
import { connect } from 'node:net';

const LOOPBACK = '127.0.0.1';
const DEADLINE_MS = 2000;
const PROBE_ADDRESS = '192.0.2.1';
/** Version 2, over IPv4, from 192.0.2.1:1 to 192.0.2.2:2; then a request. */
const PROBE = Buffer.concat([
  Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000201c000020200010002', 'hex'),
  Buffer.from('GET / HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n'),
]);
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
      client.on('connect', () => client.write(PROBE));
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
