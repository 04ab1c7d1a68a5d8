/**
 * The nodes to try, in order. The list is asked for again when all of it has failed; advice of a node goes in front.
 */
import { HalleyError } from '../errors/index.js';
import { type FetchPort, hostGlobals } from './ports.js';
import { count, texts } from './server-bodies.js';

/** Addresses; a function that finds them; or where a node answers `GET /goim/nodes/weighted`, the URL without that path. */
export type NodeSource = readonly string[] | (() => Promise<readonly string[]>) | { readonly discover: string };

const DISCOVER_PATH = '/goim/nodes/weighted';

export class NodeList {
  readonly #source: NodeSource;
  readonly #fetch: FetchPort | undefined;
  #addresses: readonly string[] = [];
  #index = 0;
  /** Attempts since the list was read or one succeeded. */
  #triedCount = 0;

  constructor(source: NodeSource, fetch: FetchPort | undefined) {
    this.#source = source;
    this.#fetch = fetch;
  }

  /** Some of the list have not been tried since the last success. */
  get hasUntried(): boolean {
    return this.#triedCount < this.#addresses.length;
  }

  /**
   * The next address to try.
   * @throws HalleyError NO_NODES where there is none, or what the source throws while there is no older list to go on with
   */
  async next(): Promise<string> {
    if (!this.hasUntried) await this.#refresh();
    const address = this.#addresses[this.#index % this.#addresses.length];
    if (address === undefined) throw new HalleyError('NO_NODES', 'there must be at least one node');
    this.#index += 1;
    this.#triedCount += 1;
    return address;
  }

  /** The last address was good: the next attempt begins with it. */
  succeeded(): void {
    this.#index -= 1;
    this.#triedCount = 0;
  }

  /** The next attempt goes to the last address once more. */
  again(): void {
    this.#index -= 1;
    this.#triedCount -= 1;
  }

  /** Try these first. */
  prefer(nodes: readonly string[]): void {
    const preferred = nodes.map(normalAddress);
    this.#use([...preferred, ...this.#addresses.filter((address) => !preferred.includes(address))]);
  }

  async #refresh(): Promise<void> {
    let found: readonly string[];
    try {
      found = await this.#read();
    } catch (error) {
      // An old list is better than none; the next round asks again.
      if (this.#addresses.length === 0) throw error;
      found = [];
    }
    this.#use(found.length > 0 ? found.map(normalAddress) : this.#addresses);
  }

  #use(addresses: readonly string[]): void {
    this.#addresses = addresses;
    this.#index = 0;
    this.#triedCount = 0;
  }

  async #read(): Promise<readonly string[]> {
    const source = this.#source;
    if (typeof source === 'function') return source();
    if (!('discover' in source)) return source;
    const url = new URL(source.discover);
    if (url.pathname === '/') url.pathname = DISCOVER_PATH;
    if (this.#fetch === undefined) throw new HalleyError('NO_FETCH', 'finding nodes needs fetch', { url: url.href });
    const reply = await this.#fetch(url.href);
    if (!reply.ok) {
      throw new HalleyError('NO_NODES', 'the node list must be answered with 200', {
        url: url.href,
        status: reply.status,
      });
    }
    return weightedAddresses(await reply.json(), url.protocol === 'https:');
  }
}

/** The addresses in the reply of `nodes/weighted`: WebSocket ones first, then TCP, best node first; with TLS where the reply came with it. */
export function weightedAddresses(reply: unknown, isSecure: boolean): string[] {
  const data = (reply as { data?: Record<string, unknown> } | null)?.data ?? {};
  // An IPv6 address stands in brackets in an address.
  const hosts = texts(data['nodes']).map((node) => (/^[^[].*:/.test(node) ? `[${node}]` : node));
  const addresses = (plain: string, plainPort: unknown, tls: string, tlsPort: unknown, path = ''): string[] => {
    const securePort = isSecure ? count(tlsPort) : 0;
    const port = securePort || count(plainPort);
    return port > 0 ? hosts.map((host) => `${securePort > 0 ? tls : plain}://${host}:${port}${path}`) : [];
  };
  return [
    ...addresses('ws', data['ws_port'], 'wss', data['wss_port'], '/sub'),
    ...addresses('tcp', data['tcp_port'], 'tls', data['tcp_tls_port']),
  ];
}

/** `host:port` and `ws://host:port` as people write them, with scheme and path. */
export function normalAddress(address: string): string {
  const isBare = !address.includes('://');
  const scheme = hostGlobals().location?.protocol === 'https:' ? 'wss' : 'ws';
  const url = isBare ? `${scheme}://${address}` : address;
  return /^(?:ws|http)s?:\/\/[^/?#]*\/?$/.test(url) ? `${url.replace(/\/$/, '')}/sub` : url;
}
