/**
 * Process entry of a load client: answers the runner's requests in turn, ends with the runner.
 */
import { LoadClient } from './load-client.js';
import type { LoadAnswer, LoadRequest, NumberedAnswer, NumberedRequest } from './load-commands.js';

const client = new LoadClient();

async function answer(request: LoadRequest): Promise<LoadAnswer> {
  switch (request.kind) {
    case 'connect':
      return { connect: await client.connect(request) };
    case 'reset':
      client.reset();
      return { done: true };
    case 'tally':
      return { tally: client.tally(request.withDelays) };
    case 'heartbeat':
      await client.heartbeat(request.spreadMs);
      return { done: true };
    case 'echo':
      return { echo: await client.echo(request.ratePerSec, request.messageCount) };
    case 'churn':
      await client.churn(request.ratePerSec, request.changeCount, request.roomCount);
      return { done: true };
  }
}

process.on('message', (message: NumberedRequest) => {
  const reply = (result: LoadAnswer): void => {
    process.send?.({ id: message.id, answer: result } satisfies NumberedAnswer);
  };
  answer(message.request).then(reply, (error: unknown) => {
    reply({ error: error instanceof Error ? error.message : String(error) });
  });
});
process.on('disconnect', () => process.exit(0));
