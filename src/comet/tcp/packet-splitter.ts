/**
 * Whole packets out of what the sockets of a door read. One stream serves all of them: a socket has one of its own only
 * while it holds the beginning of a packet, so an idle connection keeps nothing.
 *
 * Threads: its bucket.
 * Guarantees: a socket keeps at most one unfinished packet, 16 bytes and its `limitBytesOf`, and of that only what has
 *   arrived; every packet that is handed out has a true length field, also where goim takes what is no length (below 16,
 *   negative): that is an empty body. A refused stream hands out a header that says why, as a last packet which the packet
 *   handler refuses with its own code.
 * Hot path: split(); a packet that is alone in its chunk is handed out in place, others cost one view.
 */
import {
  HEADER_LENGTH_OFFSET,
  PACKET_HEADER_BYTES,
  PACKET_LENGTH_OFFSET,
  PARSE,
  PacketStream,
  type ParseOutcome,
  readInt32,
  writePacketHeader,
} from '../../protocol/index.js';

/** Who the bytes come from. */
export interface SplitterSource {
  /** Its unfinished packet. */
  stream: PacketStream | undefined;
  /** False: its channel is gone, and with it whatever has not been handed out. */
  readonly isOpen: boolean;
}

export class PacketSplitter<Source extends SplitterSource> {
  readonly #limitBytes: () => number;
  /** Whose bytes are read. */
  #source: Source | undefined = undefined;
  /** One packet, valid until return. */
  readonly #take: (source: Source, packet: Uint8Array) => void;
  readonly #header = new Uint8Array(PACKET_HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  #spare: PacketStream | undefined = undefined;

  /** @param limitBytesOf largest body of the source's next packet, whatever its operation */
  constructor(limitBytesOf: (source: Source) => number, take: (source: Source, packet: Uint8Array) => void) {
    this.#limitBytes = () => (this.#source === undefined ? 0 : limitBytesOf(this.#source));
    this.#take = take;
  }

  /**
   * Hand out the packets that end in this chunk. False: what comes is no packet, and nothing more can be read.
   * @param chunk read in place, valid until return
   */
  split(source: Source, chunk: Uint8Array): boolean {
    const stream = source.stream ?? this.#spare ?? new PacketStream(this.#limitBytes);
    // Whoever throws or closes in between leaves a stream behind that is good for nothing.
    source.stream = undefined;
    this.#spare = undefined;
    this.#source = source;
    stream.feed(chunk);
    let outcome: ParseOutcome = stream.next();
    while (outcome === PARSE.OK) {
      this.#take(source, this.#packetOf(stream));
      if (!source.isOpen) return true;
      outcome = stream.next();
    }
    if (outcome !== PARSE.NEED_MORE) {
      this.#take(source, this.#refusedHeader(stream, outcome));
      return false;
    }
    if (stream.keptBytes > 0) source.stream = stream;
    else this.#spare = stream;
    return true;
  }

  #packetOf({ bytes, header }: PacketStream): Uint8Array {
    const { packetBytes, bodyOffset } = header;
    const start = bodyOffset - PACKET_HEADER_BYTES;
    if (readInt32(bytes, start + PACKET_LENGTH_OFFSET) < PACKET_HEADER_BYTES) {
      writePacketHeader(this.#headerView, 0, PACKET_HEADER_BYTES, header.ver, header.op, header.seq);
      return this.#header;
    }
    return packetBytes === bytes.length ? bytes : bytes.subarray(start, start + packetBytes);
  }

  #refusedHeader({ header }: PacketStream, outcome: ParseOutcome): Uint8Array {
    writePacketHeader(this.#headerView, 0, header.packetBytes, header.ver, header.op, header.seq);
    if (outcome === PARSE.BAD_HEADER_LENGTH) this.#headerView.setInt16(HEADER_LENGTH_OFFSET, 0);
    return this.#header;
  }
}
