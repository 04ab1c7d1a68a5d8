/**
 * Server-sent events by streaming fetch, which Node has too and EventSource is not; packets go up by POST.
 *
 * A stream that ends is opened again at its cursor, so that a proxy's time limit loses nothing; a few such ends without a message in
 * between end the link.
 */
import { hostFetch } from './client-options.js';
import { type HttpOptions, type HttpSession, httpTransport } from './http-session.js';
import { SseParser } from './sse-parser.js';
import { OWN_CODE, type Transport } from './transport.port.js';

/** Streams in a row that end without a message before the link is given up; between them twice as long each time. */
const MAX_EMPTY_COUNT = 3;
const RETRY_MS = 250;

export function sseTransport(options: HttpOptions = {}): Transport {
  return httpTransport('sse', options, options.fetch ?? hostFetch(), receive);
}

async function receive(session: HttpSession): Promise<void> {
  const position = { cursor: 0 };
  let emptyCount = 0;
  let reason = 'the stream ended';
  while (!session.isOver()) {
    const before = position.cursor;
    try {
      await stream(session, position);
    } catch (error) {
      reason = String(error);
    }
    emptyCount = position.cursor > before ? 0 : emptyCount + 1;
    if (emptyCount > MAX_EMPTY_COUNT) session.end(undefined, OWN_CODE.LOST, reason);
    else if (!session.isOver()) await session.pause(RETRY_MS * 2 ** emptyCount);
  }
}

/** One stream, from the cursor to its end. */
async function stream(session: HttpSession, position: { cursor: number }): Promise<void> {
  const reply = await session.get('/sse', `cursor=${position.cursor}`);
  const reader = reply.ok ? reply.body?.getReader() : undefined;
  const parser = new SseParser();
  while (reader !== undefined && !session.isOver()) {
    const { done, value } = await reader.read();
    if (done || value === undefined) return;
    for (const { name, id, data } of parser.feed(value)) {
      if (name === 'close') session.end(parsed(data), OWN_CODE.LOST, 'closed');
      const cursor = Number(id);
      if (name !== 'message' || !(cursor > position.cursor)) continue;
      position.cursor = cursor;
      session.message(Uint8Array.from(atob(data), (character) => character.charCodeAt(0)));
    }
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    // A close without words.
    return undefined;
  }
}
