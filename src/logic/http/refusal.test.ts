/** A push that is refused says why: which bound, with its value, or who is away. */
import { afterEach, describe, expect, it } from 'vitest';
import type { DurablePush, DurableQueue, Pusher, PushOutcome } from '../../push/index.js';
import { ApiHarness } from './fixtures/api-harness.js';

let api: ApiHarness | undefined;
afterEach(async () => {
  await api?.api.close();
});

const REASON = 'too much waits (queue.max_messages): messages=5 maxMessages=5';

function refusing(reasons: readonly string[]): { pusher: Pusher; durable: DurableQueue } {
  let index = 0;
  const refuse = (onRefused: ((reason: string) => void) | undefined): PushOutcome => {
    onRefused?.(reasons[index++ % reasons.length] ?? '');
    return 'full';
  };
  return {
    pusher: { push: (_, onRefused) => refuse(onRefused) },
    durable: {
      append: async (pushes: readonly DurablePush[]) => {
        await Promise.resolve();
        return pushes.map(({ onRefused }) => refuse(onRefused));
      },
    },
  };
}

describe('a push that is refused', () => {
  it.each(['direct', 'durable'])('tells the cause at goim routes, %s', async (kind) => {
    const { pusher, durable } = refusing([REASON]);
    api = await new ApiHarness({ pusher, ...(kind === 'durable' ? { durable } : {}) }).start();
    const answer = await api.post('/goim/push/room?operation=1&type=live&room=1', 'x');
    expect([answer.status, answer.headers['retry-after'], answer.json]).toEqual([
      503,
      '1',
      { code: -503, message: `the push was refused, try again later: ${REASON}` },
    ]);
  });

  it.each(['false', 'true'])('tells each command of a batch its own cause, durable=%s', async (durable) => {
    const causes = ['Redis does not answer', REASON, 'no ids may be drawn'];
    api = await new ApiHarness(refusing(causes)).start();
    const commands = causes.map(() => ({ all: true, op: 1, body: 'x' }));
    const answer = await api.postJson(`/halley/push/batch?durable=${durable}`, commands);
    expect(answer.json).toEqual({
      code: 0,
      message: '',
      data: causes.map((cause) => ({ code: -503, message: `the push was refused, try again later: ${cause}` })),
    });
  });
});
