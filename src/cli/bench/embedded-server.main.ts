/**
 * Process entry of a node that is embedded in a small program and published to from its main thread: the shortest way into
 * Halley, and the one that a bare uWebSockets.js server is compared with.
 *
 * Run: forked with the flags of `halley`; `HALLEY_*` counts too. Says `{addresses}` when it listens, answers `{feed}` with
 * `{report}`, and ends when its parent goes.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { flagRows, loadConfig } from '../../config/index.js';
import { PUSH_OUTCOME } from '../../push/index.js';
import { createServer } from '../create-server.js';
import { setV8Flags } from '../v8-flags.js';
import type { FromFedServer, ToFedServer } from './fed-server.js';
import { OPERATION } from './wire/packet.js';
import { runFeed } from './wire/run-feed.js';

setV8Flags();
const { values } = parseArgs({ options: Object.fromEntries(flagRows().map(({ name }) => [name, { type: 'string' }])) });
const { config } = loadConfig({
  argvFlags: values as Readonly<Record<string, string>>,
  env: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
});
const server = createServer(config);

function tell(message: FromFedServer): void {
  process.send?.(message);
}

process.on('message', ({ feed }: ToFedServer) => {
  const isRoom = feed.target === 'room';
  const publish = (name: string, body: Uint8Array): boolean =>
    server.publish({
      target: isRoom ? { kind: 'rooms', rooms: [name] } : { kind: 'keys', keys: [name] },
      op: OPERATION.PUSHED,
      body,
    }) === PUSH_OUTCOME.OK;
  void runFeed(feed, publish).then((report) => tell({ report }));
});
process.once('disconnect', () => {
  void server.shutdown().then((isClean) => process.exit(isClean ? 0 : 1));
});

const { wsPort, httpPort } = await server.start();
tell({ ready: { port: wsPort, httpPort } });
