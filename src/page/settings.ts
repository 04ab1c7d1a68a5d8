/**
 * What the connection form says, checked.
 */
import { type Decoded, decoded, KEY_LIMIT_BYTES, nameProblem, refused, roomIdProblem } from '../protocol/index.js';

export interface ConnectSettings {
  /** `ws://host:3102/sub` */
  readonly url: string;
  /** 0: no user. */
  readonly mid: number;
  /** Empty: the server draws one. */
  readonly key: string;
  /** The primary room; empty: none. */
  readonly room: string;
  readonly accepts: readonly number[];
  /** Empty: none. */
  readonly token: string;
  readonly extended: boolean;
}

/** The form's fields as typed. */
export interface SettingsFields {
  readonly url: string;
  readonly mid: string;
  readonly key: string;
  readonly room: string;
  readonly accepts: string;
  readonly token: string;
  readonly extended: boolean;
}

const INT32_MAX = 0x7fff_ffff;

export function readSettings(fields: SettingsFields): Decoded<ConnectSettings> {
  const url = fields.url.trim();
  if (!URL.canParse(url) || !/^wss?:$/.test(new URL(url).protocol)) {
    return refused('The address begins with ws:// or wss://, for example ws://localhost:3102/sub.');
  }
  const mid = fields.mid.trim() === '' ? 0 : Number(fields.mid);
  if (!Number.isSafeInteger(mid) || mid < 0) return refused('The mid is a whole number of at most 9007199254740991.');
  const key = fields.key.trim();
  const keyProblem = key === '' ? undefined : nameProblem('The device key', key, KEY_LIMIT_BYTES);
  if (keyProblem !== undefined) return refused(keyProblem);
  const room = fields.room.trim();
  const roomProblem = room === '' ? undefined : roomIdProblem(room);
  if (roomProblem !== undefined) return refused(roomProblem);
  const accepts = fields.accepts
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map((text) => (/^\d+$/.test(text) ? Number(text) : Number.NaN));
  if (!accepts.every((op) => op <= INT32_MAX)) {
    return refused('Operations are whole numbers with commas between them, for example 1000,1001.');
  }
  return decoded({ url, mid, key, room, accepts, token: fields.token.trim(), extended: fields.extended });
}
