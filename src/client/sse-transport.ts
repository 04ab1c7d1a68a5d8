/**
 * Server-sent events by streaming fetch, which Node has too and EventSource is not; packets go up by POST.
 *
 * A stream that ends is opened again at its cursor, so that a proxy's time limit loses nothing; a few such ends without a message in
 * between end the link.
 */
import { encodeUtf8 } from '../protocol/index.js';
import { hostFetch } from './client-options.js';
import { type HttpOptions, type HttpSession, httpTransport } from './http-session.js';
import { SseParser } from './sse-parser.js';
import type { Transport } from './transport.port.js';

export function sseTransport(options: HttpOptions = {}): Transport {
  return httpTransport('sse', options, options.fetch ?? hostFetch(), stream);
}

/** One stream, from the cursor to its end. */
async function stream(session: HttpSession): Promise<boolean> {
  const reply = await session.get('/sse', '');
  const reader = reply.ok ? reply.body?.getReader() : undefined;
  const parser = new SseParser();
  let isGood = false;
  while (reader !== undefined && !session.isOver) {
    const { done, value } = await reader.read();
    if (done || value === undefined) break;
    for (const { name, id, data } of parser.feed(value)) {
      if (name === 'close') session.end(encodeUtf8(data), 'closed');
      else if (name === 'message') {
        const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
        isGood = session.message(Number(id), bytes) || isGood;
      }
    }
  }
  return isGood;
}
