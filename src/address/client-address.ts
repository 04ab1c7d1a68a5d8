/**
 * client-address: whose request it is: the address at the other end of the socket, or, where that is a proxy of ours, the
 * client that the proxy names in X-Forwarded-For or, where our proxies write that one, in Forwarded (RFC 7239).
 *
 * Every proxy appends whom it took the request from, so the list is read from its right end: addresses of trusted proxies are
 * passed over, the first other one is the client. What stands left of it the client may have written itself. A part that is no
 * address ends the reading: then the trusted proxy that passed it on is all that is known.
 *
 * Only one of the two headers is ever read: a proxy that appends to one passes the other on as the client wrote it.
 *
 * Threads: any; an instance has no state that changes.
 * Guarantees: without trusted proxies the header is never read. Cost is bounded by the parts up to the first untrusted one.
 */
import { isIP } from 'node:net';
import { HalleyError } from '../errors/index.js';
import { type CidrRule, CidrTable } from './cidr-table.js';
import { parseCidr } from './ip-address.js';

/** As node:http has it: names in lower case, a header that came several times joined by commas. */
export interface RequestPeer {
  readonly socket: { readonly remoteAddress?: string | undefined };
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** The headers that proxies tell a client's address in. */
export const FORWARDED_HEADERS = ['x-forwarded-for', 'forwarded'] as const;
export type ForwardedHeader = (typeof FORWARDED_HEADERS)[number];

const TRUSTED = 'trusted';

function ruleOf(text: string, index: number): CidrRule {
  const cidr = parseCidr(text);
  if (typeof cidr !== 'string') return { cidr, value: TRUSTED, source: 'http.trusted_proxies', line: index + 1 };
  throw new HalleyError('TRUSTED_PROXY_INVALID', `each of http.trusted_proxies ${cidr}`, { item: index + 1, text });
}

/** `1.2.3.4:5678` and `[::1]:5678`, as some proxies write, without the port; a zone (`%eth0`) goes too. */
function bareAddress(part: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(part)?.[1];
  const address = bracketed ?? /^(\d[\d.]*):\d{1,5}$/.exec(part)?.[1] ?? part;
  const zoneAt = address.indexOf('%');
  return zoneAt < 0 ? address : address.slice(0, zoneAt);
}

/**
 * The node of an element of Forwarded: the value of its `for`, quotes and their escapes taken off; '' without one, or where
 * any pair of the element is broken. Pair by pair, since the value of `host` is the client's own and may hold `;for=`.
 */
function forwardedFor(element: string): string {
  const pair = /\s*([^\s=;"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*(?:;|$)/y;
  let node = '';
  while (pair.lastIndex < element.length) {
    const match = pair.exec(element);
    if (match === null) return '';
    const [, name = '', quoted, token = ''] = match;
    if (name.toLowerCase() === 'for') node = quoted?.replace(/\\(.)/g, '$1') ?? token;
  }
  return node;
}

export class ClientAddress {
  /** Which header `of` and `ofHop` read. */
  readonly header: ForwardedHeader;
  readonly #trusted: CidrTable | undefined;

  /**
   * @param trustedProxies addresses or blocks of addresses of our own proxies; empty: nobody is believed
   * @param header the one that our proxies append to
   * @throws HalleyError TRUSTED_PROXY_INVALID
   */
  constructor(trustedProxies: readonly string[], header: ForwardedHeader = 'x-forwarded-for') {
    this.header = header;
    this.#trusted = trustedProxies.length === 0 ? undefined : new CidrTable(trustedProxies.map(ruleOf));
  }

  /** True where some proxy is believed. */
  get trustsProxies(): boolean {
    return this.#trusted !== undefined;
  }

  /** True where the address is one of our own proxies. */
  isProxy(address: string): boolean {
    return this.#trusted?.find(bareAddress(address)) !== undefined;
  }

  /** The client's address; empty where the socket has none any more. */
  of(peer: RequestPeer): string {
    const header = peer.headers[this.header] ?? '';
    return this.ofHop(peer.socket.remoteAddress ?? '', typeof header === 'string' ? header : header.join(','));
  }

  /** @param chain the whole header, '' where it is missing */
  ofHop(remoteAddress: string, chain: string): string {
    let address = bareAddress(remoteAddress);
    const trusted = this.#trusted;
    if (trusted === undefined) return address;
    let end = chain.length;
    while (end > 0 && trusted.find(address) !== undefined) {
      // A comma inside quotes cuts an element in two, and neither half is one.
      const start = chain.lastIndexOf(',', end - 1) + 1;
      const part = chain.slice(start, end).trim();
      const hop = bareAddress(this.header === 'forwarded' ? forwardedFor(part) : part);
      if (isIP(hop) === 0) break;
      address = hop;
      end = start - 1;
    }
    return address;
  }
}
