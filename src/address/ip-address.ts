/**
 * ip-address: the text of an IP address or of a block of addresses (CIDR), as numbers that can be compared.
 *
 * **Layout**: four 32-bit words, the most significant first. An IPv4 address stands in the last one, the others are 0; which
 * family it is, is told beside it. An IPv4 address in IPv6 form (`::ffff:10.0.0.1`) is an IPv4 address, since a dual-stack
 * socket shows its IPv4 clients so.
 * Guarantees: takes what node:net's isIP takes, zones (`%eth0`) excepted. parseIp allocates nothing for IPv4.
 */
export type IpFamily = 4 | 6;

const WORD_COUNT = 4;
const WORD_BITS = 32;
const IPV6_BITS = WORD_COUNT * WORD_BITS;
const GROUP_COUNT = 8;
const MAPPED_MARK = 0xffff;
const DOT = 46;
const COLON = 58;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const NO_IPV4 = -1;

/** An IPv4 address from `from` to the end of the text: 0 to 2^32-1, or NO_IPV4. */
function parseIpv4(text: string, from: number): number {
  let value = 0;
  let octet = 0;
  let digitCount = 0;
  let dotCount = 0;
  for (let index = from; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code >= DIGIT_0 && code <= DIGIT_9) {
      // No leading zero: some programs would read 010 as eight.
      if (digitCount > 0 && octet === 0) return NO_IPV4;
      octet = octet * 10 + code - DIGIT_0;
      if (++digitCount > 3 || octet > 255) return NO_IPV4;
    } else {
      if (code !== DOT || digitCount === 0 || ++dotCount > 3) return NO_IPV4;
      value = value * 256 + octet;
      octet = 0;
      digitCount = 0;
    }
  }
  return dotCount === 3 && digitCount > 0 ? value * 256 + octet : NO_IPV4;
}

/** 0 to 15, or -1. */
function hexDigit(code: number): number {
  if (code >= DIGIT_0 && code <= DIGIT_9) return code - DIGIT_0;
  const lower = code | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** The eight 16-bit groups of an IPv6 address; undefined where the text is none. */
function parseIpv6(text: string): number[] | undefined {
  const groups: number[] = [];
  let gapAt = -1;
  let at = 0;
  if (text.startsWith('::')) {
    gapAt = 0;
    at = 2;
  }
  while (at < text.length) {
    const groupAt = at;
    let group = 0;
    let digit = hexDigit(text.charCodeAt(at));
    while (digit >= 0) {
      group = group * 16 + digit;
      at++;
      digit = at < text.length ? hexDigit(text.charCodeAt(at)) : -1;
    }
    if (text.charCodeAt(at) === DOT) {
      const tail = parseIpv4(text, groupAt);
      if (tail === NO_IPV4) return undefined;
      groups.push(Math.floor(tail / 0x1_0000), tail % 0x1_0000);
      break;
    }
    if (at === groupAt || at - groupAt > 4 || groups.length === GROUP_COUNT) return undefined;
    groups.push(group);
    if (at === text.length) break;
    // A colon, and behind it another group or, once, a second colon.
    if (text.charCodeAt(at) !== COLON || ++at === text.length) return undefined;
    if (text.charCodeAt(at) === COLON) {
      if (gapAt >= 0) return undefined;
      gapAt = groups.length;
      at++;
    }
  }
  if (gapAt < 0) return groups.length === GROUP_COUNT ? groups : undefined;
  const missing = GROUP_COUNT - groups.length;
  if (missing < 1) return undefined;
  groups.splice(gapAt, 0, ...new Array<number>(missing).fill(0));
  return groups;
}

/**
 * @param words four of them, filled where the text is an address
 * @returns its family; 0: the text is no address, and `words` hold nothing
 */
export function parseIp(text: string, words: Uint32Array): IpFamily | 0 {
  const ipv4 = parseIpv4(text, 0);
  if (ipv4 !== NO_IPV4) {
    words[0] = 0;
    words[1] = 0;
    words[2] = 0;
    words[3] = ipv4;
    return 4;
  }
  const groups = parseIpv6(text);
  if (groups === undefined) return 0;
  for (let word = 0; word < WORD_COUNT; word++) {
    words[word] = (groups[2 * word] as number) * 0x1_0000 + (groups[2 * word + 1] as number);
  }
  if (words[0] !== 0 || words[1] !== 0 || words[2] !== MAPPED_MARK) return 6;
  words[2] = 0;
  return 4;
}

/** A block of addresses. */
export interface Cidr {
  readonly family: IpFamily;
  /** The first address of the block. Owned by the block. */
  readonly words: Uint32Array;
  /** How many of the 128 bits are fixed: those of an IPv4 prefix count from 96 on. */
  readonly fixedBits: number;
}

/** The bits of a word that a prefix fixes. */
export function fixedMask(fixedBits: number, word: number): number {
  const bits = Math.min(WORD_BITS, Math.max(0, fixedBits - word * WORD_BITS));
  return bits === 0 ? 0 : (0xffff_ffff << (WORD_BITS - bits)) >>> 0;
}

/**
 * `10.0.0.0/8`, `2001:db8::/32`, or one address.
 * @returns the block, or what is wrong with the text, as the end of a sentence
 */
export function parseCidr(text: string): Cidr | string {
  const slashAt = text.indexOf('/');
  const address = slashAt < 0 ? text : text.slice(0, slashAt);
  const words = new Uint32Array(WORD_COUNT);
  const family = parseIp(address, words);
  if (family === 0) return 'must be an IPv4 or IPv6 address, with or without a prefix length';
  // ::ffff:10.0.0.0/104 is written in 128 bits and means 10.0.0.0/8.
  const isWrittenAs6 = address.includes(':');
  const maxBits = isWrittenAs6 ? IPV6_BITS : WORD_BITS;
  const prefix = slashAt < 0 ? String(maxBits) : text.slice(slashAt + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > maxBits) {
    return `must have a prefix length of 0 to ${maxBits}`;
  }
  const fixedBits = Number(prefix) + IPV6_BITS - maxBits;
  if (family === 4 && fixedBits < IPV6_BITS - WORD_BITS) {
    return `must have a prefix length of ${IPV6_BITS - WORD_BITS} to ${maxBits}, since it is an IPv4 address`;
  }
  for (let word = 0; word < WORD_COUNT; word++) {
    if (((words[word] as number) & ~fixedMask(fixedBits, word)) !== 0) {
      return `must have zeros behind its ${prefix} bits of prefix`;
    }
  }
  return { family, words, fixedBits };
}
