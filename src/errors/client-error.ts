/**
 * Errors in answers to a client (tier 2): `{code, message, temporary}`. Ranges: 100 to 199 the request is wrong,
 * 200 to 299 not allowed, 300 to 399 the state does not permit it, 400 to 499 a limit, 500 to 599 the server failed.
 * Codes are fixed for ever; a test keeps this table, its ranges and the README equal.
 */
export interface ClientErrorRow {
  readonly code: number;
  readonly message: string;
  /** True where the same request may succeed later. */
  readonly temporary: boolean;
}

export const CLIENT_ERROR = {
  BAD_BODY: { code: 100, message: 'the body is not what this operation expects', temporary: false },
  BAD_ROOM: { code: 101, message: 'a room id is a non-empty string of at most the configured bytes', temporary: false },
  UNKNOWN_METHOD: { code: 102, message: 'no such method', temporary: false },
  NOT_EXTENDED: { code: 103, message: 'this operation needs "halley": 1 in the auth body', temporary: false },
  ROOM_FORBIDDEN: { code: 200, message: 'the token does not allow this room', temporary: false },
  NOT_MEMBER: { code: 300, message: 'the channel is not in this room', temporary: false },
  TOO_MANY_ROOMS: { code: 400, message: 'the channel is in as many rooms as it may be', temporary: false },
  BODY_TOO_LARGE: { code: 401, message: 'the body is above the limit of this operation', temporary: false },
  NODE_ROOMS_FULL: { code: 402, message: 'the node holds as many rooms as it may', temporary: true },
  OVERLOADED: { code: 500, message: 'the server is overloaded, try again later', temporary: true },
  INTERNAL: { code: 501, message: 'the server failed to handle the request', temporary: true },
} as const satisfies Record<string, ClientErrorRow>;

export type ClientErrorName = keyof typeof CLIENT_ERROR;
export type ClientError = (typeof CLIENT_ERROR)[ClientErrorName];
