/**
 * One way to carry packets between a client and a node. A link is opened with the auth body and is then a pipe: whole packets
 * out, one or more whole packets in, the first of them op 8.
 *
 * Guarantees a transport must give: packets keep their order in both directions; `onEnd` is called at most once and nothing
 * behind it; after `close` nothing is called at all, and nothing of the link is left running. `open` does not throw.
 */

/** What a node said when it ended a connection: op 6, or the error body of the HTTP fallbacks. */
export interface Advice {
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  /** A window: come back after a random part of it. 0: the client's own backoff. */
  readonly retryAfterMs: number;
  /** Where to go instead; empty: no matter. */
  readonly nodes: readonly string[];
}

export interface LinkEnd {
  readonly code: number;
  readonly reason: string;
  /** From the node itself, on transports where it does not come as op 6. */
  readonly advice?: Advice;
}

export interface LinkEvents {
  /** `bytes` belong to the receiver. */
  onMessage(bytes: Uint8Array<ArrayBuffer>): void;
  onEnd(end: LinkEnd): void;
}

export interface Link {
  /** One whole packet. Before the link is up it is kept, behind it is dropped. */
  send(packet: Uint8Array<ArrayBuffer>): void;
  /** @param code 1000 when the client leaves; anything else: do not wait for the other side */
  close(code: number, reason: string): void;
}

export interface Transport {
  /** `websocket`, `sse`, `long-poll`, `tcp`, `tls`, or your own. */
  readonly name: string;
  /** False where the host cannot do it, or the address is for another transport. `scheme` is `ws`, `https`, `tcp` and so on. */
  takes(scheme: string): boolean;
  /** @param authBody what op 7 carries */
  open(address: string, authBody: Uint8Array<ArrayBuffer>, events: LinkEvents): Link;
}

/** Close codes of the client's own making; servers do not send them. */
export const OWN_CODE = {
  BYE: 1000,
  LOST: 1006,
  NO_ANSWER: 4901,
  UNREADABLE: 4902,
  NOT_OPENED: 4903,
  /** A slower transport makes room for the turn of a better one. */
  BETTER: 4904,
} as const;
