/**
 * The token of a fallback session: which node, bucket and channel it is, signed, so that a request can be taken to its bucket
 * from wherever it lands, and nobody can make one up.
 *
 *   byte 0        1          7            13       14             16        21       24              40
 *        +--------+----------+------------+--------+--------------+---------+--------+---------------+
 *        | version| node tag | node epoch | bucket | incarnation  | serial  | slot   | MAC           |
 *        | u8     | 6 B      | u48        | u8     | u16          | u40     | u24    | HMAC-SHA256/16|
 *        +--------+----------+------------+--------+--------------+---------+--------+---------------+
 *
 * As base64url it has 54 characters. Short on purpose: the pinned uWS answers 505 to a request line that arrives in two reads.
 * The node tag is the beginning of the SHA-256 of the server id; all integers are big-endian; serial and slot are the channel's
 * connection id (bucket/channel-slots.ts).
 *
 * Threads: any; the secret is made by the control thread at start and given to the buckets, so a token of an earlier life of
 *   the node is worth nothing.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

const VERSION = 1;
const TAG_BYTES = 6;
const EPOCH_OFFSET = 7;
const BUCKET_OFFSET = 13;
const INCARNATION_OFFSET = 14;
const SERIAL_OFFSET = 16;
const SLOT_OFFSET = 21;
const MAC_OFFSET = 24;
const TOKEN_BYTES = 40;
const TOKEN_CHARACTERS = 54;
const TOKEN_PATTERN = /^[A-Za-z0-9_-]{54}$/;
const EPOCH_LIMIT = 2 ** 48;
const INCARNATION_LIMIT = 2 ** 16;

/** One channel of one bucket of this node. */
export interface SessionPlace {
  readonly bucket: number;
  readonly incarnation: number;
  readonly serial: number;
  readonly slot: number;
}

export type TokenReading =
  | ({ readonly kind: 'own' } & SessionPlace)
  /** Of another node; whether it is genuine only that node can tell. */
  | { readonly kind: 'foreign'; readonly nodeTag: string }
  /** Of an earlier life of this node. */
  | { readonly kind: 'earlier' }
  | { readonly kind: 'forged' };

const FORGED: TokenReading = { kind: 'forged' };
const EARLIER: TokenReading = { kind: 'earlier' };

/** What stands for a server id in tokens: 12 hexadecimal digits. */
export function nodeTagOf(serverId: string): string {
  return tagBytesOf(serverId).toString('hex');
}

function tagBytesOf(serverId: string): Buffer {
  return createHash('sha256').update(serverId).digest().subarray(0, TAG_BYTES);
}

export class SessionTokens {
  readonly #tag: Buffer;
  readonly #nodeEpoch: number;
  readonly #secret: Uint8Array;

  constructor(serverId: string, nodeEpoch: number, secret: Uint8Array) {
    this.#tag = tagBytesOf(serverId);
    this.#nodeEpoch = nodeEpoch % EPOCH_LIMIT;
    this.#secret = secret;
  }

  mint({ bucket, incarnation, serial, slot }: SessionPlace): string {
    const bytes = Buffer.alloc(TOKEN_BYTES);
    bytes[0] = VERSION;
    this.#tag.copy(bytes, 1);
    bytes.writeUIntBE(this.#nodeEpoch, EPOCH_OFFSET, 6);
    bytes[BUCKET_OFFSET] = bucket;
    bytes.writeUInt16BE(incarnation % INCARNATION_LIMIT, INCARNATION_OFFSET);
    bytes.writeUIntBE(serial, SERIAL_OFFSET, 5);
    bytes.writeUIntBE(slot, SLOT_OFFSET, 3);
    this.#macOf(bytes).copy(bytes, MAC_OFFSET);
    return bytes.toString('base64url');
  }

  /** Never throws, whatever it is given. */
  read(token: string): TokenReading {
    if (token.length !== TOKEN_CHARACTERS || !TOKEN_PATTERN.test(token)) return FORGED;
    const bytes = Buffer.from(token, 'base64url');
    if (bytes.length !== TOKEN_BYTES || bytes[0] !== VERSION) return FORGED;
    const tag = bytes.subarray(1, 1 + TAG_BYTES);
    if (!tag.equals(this.#tag)) return { kind: 'foreign', nodeTag: tag.toString('hex') };
    if (bytes.readUIntBE(EPOCH_OFFSET, 6) !== this.#nodeEpoch) return EARLIER;
    if (!timingSafeEqual(this.#macOf(bytes), bytes.subarray(MAC_OFFSET))) return FORGED;
    return {
      kind: 'own',
      bucket: bytes[BUCKET_OFFSET] ?? 0,
      incarnation: bytes.readUInt16BE(INCARNATION_OFFSET),
      serial: bytes.readUIntBE(SERIAL_OFFSET, 5),
      slot: bytes.readUIntBE(SLOT_OFFSET, 3),
    };
  }

  /** True where the place is in this very life of the bucket. */
  static isOf(place: SessionPlace, bucket: number, incarnation: number): boolean {
    return place.bucket === bucket && place.incarnation === incarnation % INCARNATION_LIMIT;
  }

  #macOf(bytes: Buffer): Buffer {
    const mac = createHmac('sha256', this.#secret).update(bytes.subarray(0, MAC_OFFSET)).digest();
    return mac.subarray(0, TOKEN_BYTES - MAC_OFFSET);
  }
}
