/**
 * The body of a POST, read within a bound. What is above the bound is read and forgotten for a while, so that the client, which
 * is still writing, gets to see the answer; then the connection is cut.
 *
 * Threads: its bucket.
 */
import { CLOSE } from '../../errors/index.js';
import { endOf, STATUS } from './http-errors.js';
import type { HttpExchange } from './http-exchange.js';

/** How much more than the bound is read before the connection is cut. */
const PATIENCE_FACTOR = 8;

/** `handle` gets a copy, once; not called where the body was too large (413) or the client left. */
export function readBody(exchange: HttpExchange, maxBytes: number, handle: (body: Uint8Array) => void): void {
  let chunks: Uint8Array[] = [];
  let readBytes = 0;
  exchange.onData((chunk, isLast) => {
    readBytes += chunk.length;
    if (readBytes > maxBytes) {
      chunks = [];
      if (!isLast && readBytes <= maxBytes * PATIENCE_FACTOR) return;
      const reason = `the body of a request may have ${maxBytes} bytes: bytes=${readBytes}`;
      exchange.error(STATUS.TOO_LARGE, endOf(CLOSE.TOO_LARGE, reason), true);
      return;
    }
    if (isLast && chunks.length === 0) {
      handle(chunk.slice());
      return;
    }
    chunks.push(chunk.slice());
    if (isLast) handle(Buffer.concat(chunks));
  });
}
