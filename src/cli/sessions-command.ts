/**
 * `halley sessions`: where users and device keys are connected.
 */
import { z } from 'zod';
import type { OperatorCommand } from './operator-command.js';
import { midOf, misuse } from './operator-flags.js';
import { textTable } from './text-table.js';

const HELP = `Usage: halley sessions [MID ...] [--key KEY ...] [options]
Tells on which node, in which bucket and since when the devices of these users, and these devices, are connected.
  --key KEY                a device key; may be repeated
`;

const SESSIONS = z.array(
  z.looseObject({
    key: z.string(),
    mid: z.number(),
    server_id: z.string(),
    bucket: z.number(),
    platform: z.string(),
    remote_ip: z.string(),
    since: z.string(),
  }),
);

export const SESSIONS_COMMAND: OperatorCommand = {
  name: 'sessions',
  summary: 'tell where users and device keys are connected',
  help: HELP,
  options: { key: { type: 'string', multiple: true } },
  prepare: (flags) => {
    const mids = flags.words.map(midOf);
    const keys = flags.texts('key');
    if (mids.length + keys.length === 0) throw misuse('say whose sessions: mids, or --key');
    const query = new URLSearchParams([
      ...keys.map((key): [string, string] => ['keys', key]),
      ...mids.map((mid): [string, string] => ['mids', String(mid)]),
    ]);

    return async (api) => {
      const data = await api.get(`/halley/sessions?${query}`, SESSIONS);
      const rows = data.map(({ key, mid, server_id, bucket, platform, remote_ip, since }) => [
        ...[key, mid > 0 ? mid : '', server_id, bucket, platform, remote_ip, since],
      ]);
      const header = ['KEY', 'MID', 'NODE', 'BUCKET', 'PLATFORM', 'ADDRESS', 'SINCE'];
      return { text: rows.length === 0 ? 'not connected\n' : textTable(header, rows), data };
    };
  },
};
