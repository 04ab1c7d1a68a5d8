/**
 * `halley drain`: take one node out of the balancer, or put it back.
 */
import { z } from 'zod';
import type { OperatorCommand } from './operator-command.js';

const HELP = `Usage: halley drain [--off] [options]
The node that is asked gets no new clients and says so in /ready; the channels it has stay until they leave.
  --off                    back to normal
`;

const DRAINING = z.looseObject({ draining: z.boolean() });

export const DRAIN_COMMAND: OperatorCommand = {
  name: 'drain',
  summary: 'send a node no new clients, or (--off) send them again',
  help: HELP,
  options: { off: { type: 'boolean' } },
  prepare: (flags) => {
    flags.noWords();
    const bytes = JSON.stringify({ drain: !flags.has('off') });
    return async (api) => {
      const data = await api.post('/halley/node/drain', { mediaType: 'application/json', bytes }, DRAINING);
      const now = data.draining ? 'draining: it gets no new clients' : 'back: it gets new clients again';
      return { text: `${api.url} is ${now}\n`, data };
    };
  },
};
