/**
 * Who may come in: the rules that are checked before a connection becomes a channel. One object for all doors of a bucket, so
 * that a limit holds over them together.
 *
 * A door asks in this order: `checkOrigin` (where there is one), `clientOf`, `enter`; and calls `leave` with the ticket of
 * `enter` when that socket is gone, whatever became of it.
 *
 * Threads: its bucket; the connections per address are counted in memory that all buckets share.
 * Guarantees: a refused connection leaves nothing counted and spends no token. An address at its own limit cannot use up the
 *   connects of the others. Every refusal is counted by a metric.
 */
import type { ClientAddress } from '../../address/index.js';
import type { Clock } from '../../clock/index.js';
import { CLOSE } from '../../errors/index.js';
import { METRIC, type ThreadCounters } from '../../telemetry/index.js';
import { type AddressCounts, COUNT_REFUSED } from './address-counts.js';
import type { OriginList } from './origin-list.js';
import type { Refusal } from './refusal.js';
import type { TokenBucket } from './token-bucket.js';

/** What `enter` answers where connections are not counted per address. */
export const NO_TICKET = -1;

/** `http`: WebSocket and its fallbacks, which uWS reads; `tcp`: what we read ourselves. */
export type DoorKind = 'http' | 'tcp';

export interface AdmissionParts {
  readonly clock: Clock;
  readonly counters: ThreadCounters;
  readonly origins: OriginList;
  readonly clients: ClientAddress;
  /** Which doors' connections come through proxies that write the PROXY protocol. */
  readonly proxyProtocol: 'off' | 'v2' | 'v2-tcp';
  /** Undefined: not counted. */
  readonly counts: AddressCounts | undefined;
  readonly connectionsPerIp: number;
  /** Undefined: no limit. */
  readonly connects: TokenBucket | undefined;
  /** Over how long the clients of one address are asked to spread when they come back. */
  readonly reconnectWindowMs: number;
}

export class Admission {
  readonly #parts: AdmissionParts;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** The door must read a PROXY protocol header and give its address to `clientOf`. */
  hasProxyHeader(door: DoorKind): boolean {
    const { proxyProtocol } = this.#parts;
    return proxyProtocol === 'v2' || (proxyProtocol === 'v2-tcp' && door === 'tcp');
  }

  /** Name of the header whose value `clientOf` takes, in lower case; undefined: none is believed. */
  get forwardedHeader(): string | undefined {
    const { clients } = this.#parts;
    return clients.trustsProxies ? clients.header : undefined;
  }

  /** @param origin the header's value, '' where it is missing */
  checkOrigin(origin: string): Refusal | undefined {
    const { origins, counters } = this.#parts;
    if (origins.allows(origin)) return undefined;
    counters.add(METRIC.refused_origin, 1);
    return {
      status: '403 Forbidden',
      row: CLOSE.FORBIDDEN,
      reason: 'pages of this origin may not connect (limits.allowed_origins)',
      retryAfterMs: 0,
    };
  }

  /**
   * The client's address.
   *
   * @param door whose socket it is
   * @param socketAddress the other end of the socket
   * @param proxyAddress what the PROXY protocol header says, '' without; not looked at where the door has none to read
   * @param forwarded value of the forwarded header, '' where it is missing or the door has none
   */
  clientOf(door: DoorKind, socketAddress: string, proxyAddress: string, forwarded: string): string | Refusal {
    const { clients, counters } = this.#parts;
    if (!this.hasProxyHeader(door)) return clients.ofHop(socketAddress, forwarded);
    if (proxyAddress !== '' && (!clients.trustsProxies || clients.isProxy(socketAddress))) {
      return clients.ofHop(proxyAddress, forwarded);
    }
    counters.add(METRIC.refused_proxy, 1);
    return {
      status: '403 Forbidden',
      row: CLOSE.FORBIDDEN,
      reason: 'connect through the proxy: its PROXY protocol header is needed (limits.proxy_protocol)',
      retryAfterMs: 0,
    };
  }

  /** @returns a ticket for `leave`, or why not */
  enter(address: string): number | Refusal {
    const { counts, connectionsPerIp, connects, clock, counters, reconnectWindowMs } = this.#parts;
    let ticket: number = NO_TICKET;
    if (counts !== undefined) {
      ticket = counts.enter(address, connectionsPerIp);
      if (ticket === COUNT_REFUSED.LIMIT) {
        counters.add(METRIC.refused_per_ip, 1);
        return {
          status: '429 Too Many Requests',
          row: CLOSE.TOO_MANY_CONNECTIONS,
          reason: `an address may have at most ${connectionsPerIp} connections (limits.connections_per_ip)`,
          retryAfterMs: reconnectWindowMs,
        };
      }
      if (ticket === COUNT_REFUSED.FULL) {
        counters.add(METRIC.overloaded, 1);
        return {
          status: '503 Service Unavailable',
          row: CLOSE.OVERLOADED,
          reason: 'no room to count one more address',
          retryAfterMs: reconnectWindowMs,
        };
      }
    }
    const waitMs = connects?.take(clock.monotonicMs()) ?? 0;
    if (waitMs === 0) return ticket;
    this.leave(ticket);
    counters.add(METRIC.refused_rate, 1);
    return {
      status: '503 Service Unavailable',
      row: CLOSE.OVERLOADED,
      reason: 'too many connects for now (limits.connects_per_s)',
      // The next token is not this client's alone: a crowd that came back together would meet again.
      retryAfterMs: Math.max(waitMs, reconnectWindowMs),
    };
  }

  /** The socket is gone. @param ticket what `enter` answered */
  leave(ticket: number): void {
    if (ticket >= 0) this.#parts.counts?.leave(ticket);
  }
}
