/**
 * Long-poll: the way that works where nothing else does. The cursor of a poll acknowledges what came before it, so a poll that was
 * lost is asked again and loses nothing.
 */
import { hostFetch } from './client-options.js';
import { type HttpOptions, type HttpSession, httpTransport } from './http-session.js';
import type { Transport } from './transport.port.js';

const POLL_WAIT_MS = 25_000;
/** Polls in a row that fail before the link is given up; between them twice as long each time. */
const MAX_FAILURES_COUNT = 3;
const RETRY_MS = 250;

export function longPollTransport(options: HttpOptions = {}): Transport {
  const waitMs = options.pollWaitMs ?? POLL_WAIT_MS;
  return httpTransport('long-poll', options, options.fetch ?? hostFetch(), (session) => poll(session, waitMs));
}

async function poll(session: HttpSession, waitMs: number): Promise<void> {
  let cursor = 0;
  let failureCount = 0;
  while (!session.isOver()) {
    try {
      const reply = await session.get('/poll', `cursor=${cursor}&wait_ms=${waitMs}`);
      if (reply.status === 200) {
        const bytes = new Uint8Array(await reply.arrayBuffer());
        const next = Number(reply.headers.get('Halley-Cursor'));
        if (!(next > cursor)) throw new TypeError(`cursor=${next}`);
        cursor = next;
        session.message(bytes);
      }
      failureCount = 0;
    } catch (error) {
      failureCount += 1;
      if (failureCount > MAX_FAILURES_COUNT || session.isOver()) throw error;
      await session.pause(RETRY_MS * 2 ** failureCount);
    }
  }
}
