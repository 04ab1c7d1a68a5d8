import type { CloseName } from '../errors/index.js';
import type { MaybePromise } from './session.port.js';

/** What a client said in its auth packet (op 7), already parsed. */
export interface AuthRequest {
  /** 0: the body named none. */
  readonly mid: number;
  /** Empty: the body named none. */
  readonly key: string;
  /** The primary room (goim's `room_id`). Empty: none. */
  readonly roomId: string;
  /** Further rooms of an extended channel. */
  readonly rooms: readonly string[];
  readonly token?: string | undefined;
}

export interface AuthAccepted {
  readonly ok: true;
  readonly mid: number;
  /** The device key: the client's own, or a new one where it named none. Never empty. */
  readonly key: string;
  /** May this channel be in `room`? One function per distinct claim, shared by all its channels: keeping it costs a pointer. */
  readonly allowsRoom: (room: string) => boolean;
  /** Wall-clock milliseconds at which the permission ends and the channel must be closed as UNAUTHORIZED. 0: never. */
  readonly expiresAtMs: number;
}

export interface AuthRefused {
  readonly ok: false;
  /** The close code that ends the connection. */
  readonly closeName: CloseName;
  /** What was wrong, for the client and the log; never holds the token. */
  readonly message: string;
}

export type AuthVerdict = AuthAccepted | AuthRefused;

/**
 * Decides about an auth packet. Implemented in `logic`, called by the buckets of `comet`, one instance per thread.
 * Never throws and never rejects: a refusal is a value.
 */
export interface Authenticator {
  authenticate(request: AuthRequest): MaybePromise<AuthVerdict>;
}
