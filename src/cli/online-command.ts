/**
 * `halley online`: how many are connected, in the cluster and per node, in rooms, and where the fullest rooms are.
 */
import { z } from 'zod';
import type { OperatorCommand } from './operator-command.js';
import { misuse } from './operator-flags.js';
import { textTable } from './text-table.js';

const HELP = `Usage: halley online [--room type://id ... | --top TYPE [--limit N]] [options]
Counts channels: of every node, of rooms, or of the fullest rooms. Other nodes' parts are up to two seconds old.
  --room type://id         members of this room; may be repeated
  --top TYPE               the fullest rooms of a type, with --top "*" of all types
  --limit N                so many of them, default 10
`;

const DEFAULT_LIMIT = 10;
const LIMIT_RANGE = [1, 1_000_000] as const;
const ALL_TYPES = '*';

const TOTAL = z.looseObject({
  conn_count: z.number(),
  ip_count: z.number(),
  nodes: z.array(
    z.looseObject({
      server_id: z.string(),
      local: z.boolean(),
      conn_count: z.number(),
      ip_count: z.number(),
      room_count: z.number(),
    }),
  ),
});
const ROOMS = z.array(z.looseObject({ room: z.string(), count: z.number(), local_count: z.number() }));

function roomsTable(rooms: z.output<typeof ROOMS>): string {
  return textTable(
    ['ROOM', 'MEMBERS', 'ON THIS NODE'],
    rooms.map(({ room, count, local_count }) => [room, count, local_count]),
  );
}

function totalText({ conn_count, ip_count, nodes }: z.output<typeof TOTAL>): string {
  const table = textTable(
    ['NODE', 'CONNECTIONS', 'ADDRESSES', 'ROOMS', 'THIS NODE'],
    nodes.map((node) => [node.server_id, node.conn_count, node.ip_count, node.room_count, node.local ? 'yes' : '']),
  );
  return `${table}total: connections=${conn_count} addresses=${ip_count}\n`;
}

export const ONLINE_COMMAND: OperatorCommand = {
  name: 'online',
  summary: 'count connections, members of rooms, the fullest rooms',
  help: HELP,
  options: { room: { type: 'string', multiple: true }, top: { type: 'string' }, limit: { type: 'string' } },
  prepare: (flags) => {
    flags.noWords();
    const rooms = flags.texts('room');
    const type = flags.text('top');
    const limit = flags.integer('limit', LIMIT_RANGE);
    if (rooms.length > 0 && type !== undefined) throw misuse('--room and --top are two questions, ask one');
    if (limit !== undefined && type === undefined) throw misuse('--limit goes with --top only');
    if (rooms.some((room) => room === '')) throw misuse('--room must name a room');

    return async (api) => {
      if (rooms.length > 0) {
        const query = new URLSearchParams(rooms.map((room): [string, string] => ['rooms', room]));
        const data = await api.get(`/halley/online/room?${query}`, ROOMS);
        return { text: roomsTable(data), data };
      }
      if (type !== undefined) {
        const query = new URLSearchParams({ limit: String(limit ?? DEFAULT_LIMIT) });
        if (type !== ALL_TYPES) query.set('type', type);
        const data = await api.get(`/halley/online/top?${query}`, ROOMS);
        return { text: data.length === 0 ? 'no room has a member\n' : roomsTable(data), data };
      }
      const data = await api.get('/halley/online/total', TOTAL);
      return { text: totalText(data), data };
    };
  },
};
