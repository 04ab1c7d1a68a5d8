/**
 * client-address: whose request it is: the address at the other end of the socket, or, where that is a proxy of ours, the
 * client that the proxy names in X-Forwarded-For.
 *
 * Every proxy appends whom it took the request from, so the list is read from its right end: addresses of trusted proxies are
 * passed over, the first other one is the client. What stands left of it the client may have written itself. A part that is no
 * address ends the reading: then the trusted proxy that passed it on is all that is known.
 *
 * Threads: control thread.
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

export class ClientAddress {
  readonly #trusted: CidrTable | undefined;

  /**
   * @param trustedProxies addresses or blocks of addresses of our own proxies; empty: nobody is believed
   * @throws HalleyError TRUSTED_PROXY_INVALID
   */
  constructor(trustedProxies: readonly string[]) {
    this.#trusted = trustedProxies.length === 0 ? undefined : new CidrTable(trustedProxies.map(ruleOf));
  }

  /** The client's address; empty where the socket has none any more. */
  of(peer: RequestPeer): string {
    let address = bareAddress(peer.socket.remoteAddress ?? '');
    const trusted = this.#trusted;
    if (trusted === undefined) return address;
    const header = peer.headers['x-forwarded-for'] ?? '';
    const chain = typeof header === 'string' ? header : header.join(',');
    let end = chain.length;
    while (end > 0 && trusted.find(address) !== undefined) {
      const start = chain.lastIndexOf(',', end - 1) + 1;
      const hop = bareAddress(chain.slice(start, end).trim());
      if (isIP(hop) === 0) break;
      address = hop;
      end = start - 1;
    }
    return address;
  }
}
