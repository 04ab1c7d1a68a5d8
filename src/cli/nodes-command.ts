/**
 * `halley nodes`: the nodes of the cluster as an operator looks at them.
 */
import { z } from 'zod';
import type { OperatorCommand } from './operator-command.js';
import { textTable } from './text-table.js';

const HELP = `Usage: halley nodes [options]
Lists the nodes whose lease has not ended, with the addresses at which clients reach them: ws:// and wss:// (TLS) of the
WebSocket and its HTTP fallbacks, tcp:// and tls:// of bare TCP. DRAINING says that a node gets no new clients: an operator drains it
(halley drain), or it is not ready.
`;

/** goim's form, in which metadata are texts. */
const INSTANCES = z.array(
  z.looseObject({
    region: z.string(),
    addrs: z.array(z.string()),
    metadata: z.looseObject({
      server_id: z.string(),
      conn_count: z.string(),
      weight: z.string(),
      offline: z.enum(['true', 'false']),
    }),
  }),
);

const WEB_SOCKET = /^wss?:/;

export const NODES_COMMAND: OperatorCommand = {
  name: 'nodes',
  summary: 'list the nodes of the cluster',
  help: HELP,
  options: {},
  prepare: (flags) => {
    flags.noWords();
    return async (api) => {
      const data = await api.get('/goim/nodes/instances', INSTANCES);
      const rows = data
        .map(({ region, addrs, metadata: { server_id, weight, conn_count, offline } }) => [
          server_id,
          addrs.filter((url) => WEB_SOCKET.test(url)).join(' '),
          addrs.filter((url) => !WEB_SOCKET.test(url)).join(' '),
          ...[region, Number(weight), Number(conn_count)],
          offline === 'true' ? 'yes' : 'no',
        ])
        .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
      return {
        text: textTable(['NODE', 'WEBSOCKET', 'TCP', 'REGION', 'WEIGHT', 'CONNECTIONS', 'DRAINING'], rows),
        data,
      };
    };
  },
};
