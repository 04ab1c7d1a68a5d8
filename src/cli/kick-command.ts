/**
 * `halley kick`: close channels, and say whether they may come back.
 */
import { z } from 'zod';
import type { OperatorCommand } from './operator-command.js';
import { midOf, misuse } from './operator-flags.js';

const HELP = `Usage: halley kick [KEY ...] [--mid N ...] [options]
Closes channels of devices and users, on whatever node they are. Unless told otherwise they are to stay away (code 3501).
  --mid N                  all devices of this user; may be repeated
  --reason TEXT            told to the client, at most 123 bytes
  --code N                 close code: 3000 to 3499 mean reconnect, 3500 to 3999 do not, 4000 to 4999 are the application's
  --reconnect              clients may connect again at once (code 3000 unless --code says another)
  --no-reconnect           clients are to stay away
`;

const CODE_RANGE = [3000, 4999] as const;

const COUNT = z.looseObject({ count: z.number() });

export const KICK_COMMAND: OperatorCommand = {
  name: 'kick',
  summary: 'close the channels of devices or users',
  help: HELP,
  options: {
    mid: { type: 'string', multiple: true },
    reason: { type: 'string' },
    code: { type: 'string' },
    reconnect: { type: 'boolean' },
    'no-reconnect': { type: 'boolean' },
  },
  prepare: (flags) => {
    const keys = flags.words;
    const mids = flags.texts('mid').map(midOf);
    if (keys.length + mids.length === 0) throw misuse('say whom: device keys, or --mid');
    if (flags.has('reconnect') && flags.has('no-reconnect')) {
      throw misuse('--reconnect and --no-reconnect contradict each other');
    }
    const code = flags.integer('code', CODE_RANGE);
    const reason = flags.text('reason');
    const isReconnectGiven = flags.has('reconnect') || flags.has('no-reconnect');
    const order = {
      keys,
      mids,
      ...(code === undefined ? {} : { code }),
      ...(reason === undefined ? {} : { reason }),
      ...(isReconnectGiven ? { reconnect: flags.has('reconnect') } : {}),
    };

    return async (api) => {
      const body = { mediaType: 'application/json', bytes: JSON.stringify(order) };
      const data = await api.post('/halley/disconnect', body, COUNT);
      return { text: `closed: channels=${data.count}\n`, data };
    };
  },
};
