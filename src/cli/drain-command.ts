/**
 * `halley drain`: take one node out of the balancer, or put it back.
 */
import { z } from 'zod';
import type { OperatorCommand } from './operator-command.js';
import { misuse } from './operator-flags.js';

const HELP = `Usage: halley drain [--move MS | --off] [options]
The node that is asked gets no new clients and says so in /ready; the channels it has stay until they leave.
  --move MS                ask them to go elsewhere, spread over so many ms
  --off                    back to normal
`;

/** A day, as the API has it. */
const MAX_MOVE_OVER_MS = 86_400_000;
const DRAINING = z.looseObject({ draining: z.boolean(), moving: z.number().optional() });

export const DRAIN_COMMAND: OperatorCommand = {
  name: 'drain',
  summary: 'send a node no new clients, or (--off) send them again',
  help: HELP,
  options: { off: { type: 'boolean' }, move: { type: 'string' } },
  prepare: (flags) => {
    flags.noWords();
    const moveOverMs = flags.integer('move', [0, MAX_MOVE_OVER_MS]);
    if (moveOverMs !== undefined && flags.has('off')) throw misuse('--move goes with a drain, not with --off');
    const bytes = JSON.stringify({
      drain: !flags.has('off'),
      ...(moveOverMs === undefined ? {} : { move_over_ms: moveOverMs }),
    });
    return async (api) => {
      const data = await api.post('/halley/node/drain', { mediaType: 'application/json', bytes }, DRAINING);
      const now = data.draining ? 'draining: it gets no new clients' : 'back: it gets new clients again';
      const moving = data.moving === undefined ? '' : `; channels asked to go: ${data.moving}`;
      return { text: `${api.url} is ${now}${moving}\n`, data };
    };
  },
};
