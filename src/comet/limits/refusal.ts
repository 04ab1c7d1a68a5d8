/**
 * What a client is told that is refused before it has a channel: an HTTP status with a body where the door speaks HTTP; the
 * TCP door cuts.
 */
import { type CloseCodeRow, mayReconnect } from '../../errors/index.js';

export interface Refusal {
  /** With its phrase, as uWS wants it. */
  readonly status: string;
  readonly row: CloseCodeRow;
  /** Why, in one sentence without anything secret. */
  readonly reason: string;
  /** 0: nothing is advised. */
  readonly retryAfterMs: number;
}

/** JSON, with the members of op 6: `{code, reason, reconnect, retry_after_ms}`. */
export function refusalBody({ row, reason, retryAfterMs }: Refusal): string {
  return JSON.stringify({ code: row.code, reason, reconnect: mayReconnect(row.code), retry_after_ms: retryAfterMs });
}

/** The value of Retry-After, whole seconds; undefined where nothing is advised. */
export function retryAfterS({ retryAfterMs }: Refusal): string | undefined {
  return retryAfterMs <= 0 ? undefined : String(Math.ceil(retryAfterMs / 1000));
}
