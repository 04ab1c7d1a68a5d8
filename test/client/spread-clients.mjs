// Many clients of the shipped SDK in one process: `spread-clients.mjs URL COUNT`. Tells its parent when all are connected, and when
// all are back after the node has gone: when each tried, and when each was open again.
import WebSocket from 'ws';
import { HalleyClient } from '../../dist/client/index.js';

const [url, countText] = process.argv.slice(2);
const count = Number(countText);
const firstsMs = [];
const repeatsMs = [];
const opensMs = [];
const codes = new Set();

const clients = Array.from({ length: count }, () => {
  // The node may have no time for an op 8 within the usual deadline while two cores serve all of this.
  const client = new HalleyClient({
    nodes: [url],
    WebSocket,
    mid: 1,
    rooms: ['live://spread'],
    handshakeTimeoutMs: 60_000,
  });
  let isFirst = true;
  client.on('close', ({ code }) => codes.add(code));
  client.on('stateChange', ({ from, to }) => {
    if (from !== 'waiting' || to !== 'connecting') return;
    (isFirst ? firstsMs : repeatsMs).push(Date.now());
    isFirst = false;
  });
  client.on('open', ({ isReconnect }) => {
    if (!isReconnect) return;
    opensMs.push(Date.now());
    if (opensMs.length === count) process.send({ kind: 'back', firstsMs, repeatsMs, opensMs, codes: [...codes] });
  });
  return client;
});

for (let at = 0; at < count; at += 100) {
  await Promise.all(clients.slice(at, at + 100).map((client) => client.connect()));
}
process.send({ kind: 'connected', firstsMs, repeatsMs, opensMs, codes: [] });
process.on('disconnect', () => process.exit());
