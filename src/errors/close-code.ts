/**
 * Close codes of the WebSocket (tier 3). The range is the contract: 3000 to 3499 tell a client to come back,
 * 3500 to 3999 tell it to stop. The same codes stand in the body of op 6 (Disconnect).
 * Codes are fixed for ever; a test keeps this table, its ranges and the README equal.
 */
export interface CloseCodeRow {
  readonly code: number;
  readonly reason: string;
  /** What happened, for the README and for a person who reads a log. */
  readonly doc: string;
}

export const CLOSE = {
  SHUTDOWN: {
    code: 3000,
    reason: 'shutdown',
    doc: 'The node is going down; connect again, to another node if there is one.',
  },
  BUCKET_FAILED: {
    code: 3001,
    reason: 'bucket failed',
    doc: 'The worker thread that owned the channel is being replaced.',
  },
  OVERLOADED: {
    code: 3002,
    reason: 'overloaded',
    doc: 'The node refuses new channels (heap, slots or session queue full).',
  },
  IDLE: { code: 3003, reason: 'idle', doc: 'No heartbeat (op 2) arrived before the idle deadline.' },
  SLOW: {
    code: 3004,
    reason: 'slow reader',
    doc: 'The client did not read what was sent to it within slow.close_after_ms.',
  },
  HANDSHAKE_TIMEOUT: {
    code: 3005,
    reason: 'handshake timeout',
    doc: 'No accepted auth packet (op 7) arrived in time.',
  },
  LISTENER_FAILED: {
    code: 3006,
    reason: 'listener failed',
    doc: "The application's listener threw while it handled this channel.",
  },
  INTERNAL: { code: 3007, reason: 'internal error', doc: 'A defect of the server that concerned this channel only.' },
  TOO_MANY_CONNECTIONS: {
    code: 3008,
    reason: 'too many connections',
    doc: 'The address has as many connections as limits.connections_per_ip allows.',
  },
  TOO_FAST: {
    code: 3009,
    reason: 'too fast',
    doc: 'The client sent more than limits.messages_per_s or limits.bytes_per_s allows.',
  },
  TAKEN_OVER: {
    code: 3500,
    reason: 'taken over',
    doc: 'The same device key connected again, here or on another node.',
  },
  KICKED: {
    code: 3501,
    reason: 'disconnected by the backend',
    doc: 'The backend asked for this disconnect and gave no other code.',
  },
  MALFORMED: {
    code: 3502,
    reason: 'malformed packet',
    doc: 'The bytes are not a goim packet; the reason names the field.',
  },
  TOO_LARGE: { code: 3503, reason: 'packet too large', doc: 'The body is above the limit of its operation.' },
  AUTH_MALFORMED: {
    code: 3504,
    reason: 'malformed auth body',
    doc: 'The body of op 7 is not the JSON that auth expects.',
  },
  UNAUTHORIZED: { code: 3505, reason: 'unauthorized', doc: 'The token was missing, expired or wrong.' },
  FORBIDDEN: {
    code: 3506,
    reason: 'forbidden',
    doc: 'The key belongs to another user, the token does not allow this key or room, or the origin may not connect.',
  },
  PIPELINE_TOO_LONG: {
    code: 3507,
    reason: 'too much before auth',
    doc: 'More packets or bytes arrived before the answer to auth than are kept.',
  },
  REJECTED: {
    code: 3508,
    reason: 'rejected by the application',
    doc: "The application's acceptor refused the channel.",
  },
  LEFT: {
    code: 3509,
    reason: 'closed by the client',
    doc: 'The client ended its session itself (POST /sub/close); told to requests for it that come later.',
  },
} as const satisfies Record<string, CloseCodeRow>;

export type CloseName = keyof typeof CLOSE;
export type CloseCode = (typeof CLOSE)[CloseName];

/** True where the range of `code` says that the client may connect again. */
export function mayReconnect(code: number): boolean {
  return code >= 3000 && code <= 3499;
}
