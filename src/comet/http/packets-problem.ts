/**
 * Looks at posted packets before any of them is handled.
 *
 * Threads: its bucket.
 */
import { CLOSE, type CloseCodeRow } from '../../errors/index.js';
import { FRAMING, PARSE, PacketHeader, parseOutcomeName, readPacket } from '../../protocol/index.js';

const header = new PacketHeader();

/** What is wrong with the packets: on the WebSocket it would end the channel, here the request is refused whole. */
export function packetsProblem(
  bytes: Uint8Array,
  requestBodyBytes: number,
): { readonly row: CloseCodeRow; readonly reason: string } | undefined {
  let offset = 0;
  do {
    const outcome = readPacket(bytes, offset, bytes.length, header, requestBodyBytes, FRAMING.MESSAGE);
    if (outcome === PARSE.TOO_LARGE) {
      const reason = `the body of a packet may have ${requestBodyBytes} bytes: bytes=${header.bodyBytes}`;
      return { row: CLOSE.TOO_LARGE, reason };
    }
    if (outcome !== PARSE.OK) {
      const reason = `whole goim packets back to back are expected: offset=${offset} outcome=${parseOutcomeName(outcome)}`;
      return { row: CLOSE.MALFORMED, reason };
    }
    offset += header.packetBytes;
  } while (offset < bytes.length);
  return undefined;
}
