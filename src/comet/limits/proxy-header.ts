/**
 * Reads the PROXY protocol's header, which a proxy of ours writes in front of what the client sends: version 2 (binary) and
 * version 1 (one line of text). For streams that we read ourselves; uWS reads version 2 itself.
 *
 * The header is mandatory: whoever takes connections with and without one lets clients write their own. So the first byte that
 * fits neither form ends the reading.
 *
 * Threads: any one; an instance reads one connection.
 * Guarantees: keeps at most MAX_HEADER_BYTES; the answer does not depend on how the bytes were split. Never throws.
 * Source: haproxy's proxy-protocol.txt, sections 2.1 and 2.2. TLVs are passed over, so a checksum in them is not checked.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type ProxyHeaderResult =
  | { readonly status: 'more' }
  | {
      readonly status: 'done';
      /** The client's. Undefined: the proxy speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC, a Unix socket). */
      readonly address: string | undefined;
      /** What came behind the header: a view of the bytes fed last. */
      readonly rest: Uint8Array;
    }
  | { readonly status: 'malformed'; readonly reason: string };

/** Of version 2, its first 16 bytes included. Far above what TLVs of a TLS session need. */
export const MAX_HEADER_BYTES = 4096;

const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const FIXED_BYTES = 16;
const VERSION_2 = 2;
const COMMAND = { LOCAL: 0, PROXY: 1 } as const;
const FAMILY = { UNSPEC: 0, INET: 1, INET6: 2, UNIX: 3 } as const;
/** The stream among the transports; a datagram's header on a stream is a mistake. */
const STREAM = 1;
const ADDRESS_BYTES: Readonly<Record<number, number>> = {
  [FAMILY.UNSPEC]: 0,
  [FAMILY.INET]: 12,
  [FAMILY.INET6]: 36,
  [FAMILY.UNIX]: 216,
};
const LINE_START = Buffer.from('PROXY ');
/** The longest line that version 1 allows, its end included. */
const MAX_LINE_BYTES = 107;
const LINE_FEED = 0x0a;
const FIRST_BYTES = 256;

const NO_BYTES = new Uint8Array(0);
const MORE: ProxyHeaderResult = { status: 'more' };

function malformed(reason: string): ProxyHeaderResult {
  return { status: 'malformed', reason };
}

export class ProxyHeader {
  #held = new Uint8Array(FIRST_BYTES);
  #heldBytes = 0;
  #isDone = false;
  #address: string | undefined;
  #failure: ProxyHeaderResult | undefined;

  /**
   * @param bytes what the socket read; not kept
   * @returns once it is `done` all further bytes are `rest`; `malformed` stays so
   */
  feed(bytes: Uint8Array): ProxyHeaderResult {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#isDone) return { status: 'done', address: this.#address, rest: bytes };
    const before = this.#heldBytes;
    this.#hold(bytes);
    const result = this.#read();
    if (typeof result !== 'number') {
      if (result.status === 'malformed') this.#failure = result;
      return result;
    }
    this.#held = NO_BYTES;
    return { status: 'done', address: this.#address, rest: bytes.subarray(result - before) };
  }

  #hold(bytes: Uint8Array): void {
    // What lies beyond the bound is no header's; it is still in `bytes`.
    const taken = Math.min(bytes.length, MAX_HEADER_BYTES - this.#heldBytes);
    const total = this.#heldBytes + taken;
    if (total > this.#held.length) {
      const larger = new Uint8Array(Math.min(MAX_HEADER_BYTES, Math.max(total, this.#held.length * 2)));
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#held.set(bytes.subarray(0, taken), this.#heldBytes);
    this.#heldBytes = total;
  }

  /** The header's length once it is whole, with its result kept. */
  #read(): number | ProxyHeaderResult {
    const held = this.#held;
    const count = this.#heldBytes;
    if (count === 0) return MORE;
    const isLine = held[0] === LINE_START[0];
    const start = isLine ? LINE_START : SIGNATURE;
    for (let index = 0; index < Math.min(count, start.length); index++) {
      if (held[index] !== start[index]) return malformed('the connection does not begin with a PROXY protocol header');
    }
    return isLine ? this.#readLine() : this.#readBinary();
  }

  #readBinary(): number | ProxyHeaderResult {
    const held = this.#held;
    if (this.#heldBytes < FIXED_BYTES) return MORE;
    const version = held[12]! >> 4;
    const command = held[12]! & 15;
    const family = held[13]! >> 4;
    const transport = held[13]! & 15;
    const bodyBytes = (held[14]! << 8) | held[15]!;
    if (version !== VERSION_2) return malformed(`the version must be 2: version=${version}`);
    if (command !== COMMAND.LOCAL && command !== COMMAND.PROXY) {
      return malformed(`the command must be 0 or 1: command=${command}`);
    }
    if (FIXED_BYTES + bodyBytes > MAX_HEADER_BYTES) {
      return malformed(`a header has at most ${MAX_HEADER_BYTES} bytes: bytes=${FIXED_BYTES + bodyBytes}`);
    }
    const isProxied = command === COMMAND.PROXY && family !== FAMILY.UNSPEC;
    const addressBytes = ADDRESS_BYTES[family];
    if (isProxied) {
      if (addressBytes === undefined) return malformed(`the address family must be 0 to 3: family=${family}`);
      if (transport !== STREAM) return malformed(`the transport must be 1, a stream: transport=${transport}`);
      if (bodyBytes < addressBytes) {
        return malformed(`addresses of this family have ${addressBytes} bytes: bytes=${bodyBytes}`);
      }
    }
    const headerBytes = FIXED_BYTES + bodyBytes;
    if (this.#heldBytes < headerBytes) return MORE;
    return this.#done(isProxied ? addressText(held, family) : undefined, headerBytes);
  }

  #readLine(): number | ProxyHeaderResult {
    const held = this.#held.subarray(0, Math.min(this.#heldBytes, MAX_LINE_BYTES));
    const end = held.indexOf(LINE_FEED);
    if (end < 0) {
      return held.length < MAX_LINE_BYTES ? MORE : malformed(`a line has at most ${MAX_LINE_BYTES} bytes`);
    }
    const line = Buffer.from(held.subarray(0, end + 1)).toString('latin1');
    if (/^PROXY UNKNOWN(?: [^\r\n]*)?\r\n$/.test(line)) return this.#done(undefined, end + 1);
    const match = /^PROXY (TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5})\r\n$/.exec(line);
    const [, family, source = '', destination = '', sourcePort, destinationPort] = match ?? [];
    const isAddress = family === 'TCP4' ? isIPv4 : isIPv6;
    const isWhole =
      match !== null &&
      [source, destination].every((address) => isAddress(address) && !address.includes('%')) &&
      [sourcePort, destinationPort].every((port) => Number(port) <= 65_535);
    return isWhole ? this.#done(source, end + 1) : malformed('the line is not one of the PROXY protocol, version 1');
  }

  #done(address: string | undefined, headerBytes: number): number {
    this.#isDone = true;
    this.#address = address;
    return headerBytes;
  }
}

/** The source address of the header, as uWS writes one: IPv6 in eight groups of four digits. */
function addressText(held: Uint8Array, family: number): string | undefined {
  if (family === FAMILY.INET) return held.subarray(FIXED_BYTES, FIXED_BYTES + 4).join('.');
  if (family !== FAMILY.INET6) return undefined;
  const hex = Buffer.from(held.subarray(FIXED_BYTES, FIXED_BYTES + 16)).toString('hex');
  return (hex.match(/.{4}/g) ?? []).join(':');
}
