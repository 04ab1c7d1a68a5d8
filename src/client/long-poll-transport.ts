/**
 * Long-poll: the way that works where nothing else does. The cursor of a poll acknowledges what came before it, so a poll that was
 * lost is asked again and loses nothing.
 */
import { hostFetch } from './client-options.js';
import { type HttpOptions, type HttpSession, httpTransport } from './http-session.js';
import type { Transport } from './transport.port.js';

const POLL_WAIT_MS = 25_000;

export function longPollTransport(options: HttpOptions = {}): Transport {
  const waitMs = options.pollWaitMs ?? POLL_WAIT_MS;
  return httpTransport('long-poll', options, options.fetch ?? hostFetch(), (session) => poll(session, waitMs));
}

async function poll(session: HttpSession, waitMs: number): Promise<boolean> {
  const reply = await session.get('/poll', `&wait_ms=${waitMs}`);
  // 204: nothing came, which is no failure.
  return (
    reply.status !== 200 ||
    session.message(Number(reply.headers.get('Halley-Cursor')), new Uint8Array(await reply.arrayBuffer()))
  );
}
