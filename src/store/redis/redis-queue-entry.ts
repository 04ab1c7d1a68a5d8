/**
 * The form of a push in the streams of the durable queue: a shard of it (`halley:q:{shard}`) and a node's inbox
 * (`halley:in:{serverId}:nodeEpoch`).
 *
 * Layout: fields `id` (8 bytes, big-endian), `to` (JSON: `{"rooms": [...]}`, `{"keys": [...], "raw": 1}`, `{"mids": [...]}`,
 *   `{"all": 1}`), `op`, `speed`, `body`; in a shard `by` (the producing node), in an inbox `part` (0, or the hash of a rerouted part).
 * Guarantees: what cannot be read is a value with its problem, never an exception: anyone can write into Redis.
 */
import { cityHash32 } from '../../id/index.js';
import type { PushCommand, PushTarget } from '../../push/index.js';

/** What an entry costs in memory beside its fields. */
const ENTRY_OVERHEAD_BYTES = 256;
const MESSAGE_ID_BYTES = 8;
const INT32_LIMIT = 0x8000_0000;

/** One entry as Redis answers it: its id, then names and values in turn. */
export type RawEntry = readonly [id: Buffer, fields: readonly Buffer[] | null];

export interface DecodedEntry {
  readonly entryId: string;
  readonly command: PushCommand | undefined;
  readonly problem: string;
  readonly partHash: number;
  readonly bytes: number;
}

/** A view of the same bytes, as ioredis wants it. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function encodeTarget(target: PushTarget): string {
  switch (target.kind) {
    case 'rooms':
      return JSON.stringify({ rooms: target.rooms });
    case 'keys':
      return JSON.stringify(target.ignoresWatchSet === true ? { keys: target.keys, raw: 1 } : { keys: target.keys });
    case 'mids':
      return JSON.stringify({ mids: target.mids });
    case 'all':
      return '{"all":1}';
  }
}

export function targetHash(encodedTarget: string): number {
  return cityHash32(Buffer.from(encodedTarget)) | 0;
}

function texts(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string') ? value : undefined;
}

function decodeTarget(text: string, speedPerSec: number): PushTarget | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { rooms, keys, raw, mids, all } = value as Record<string, unknown>;
  const roomList = texts(rooms);
  if (roomList !== undefined) return { kind: 'rooms', rooms: roomList };
  const keyList = texts(keys);
  if (keyList !== undefined) {
    return raw === 1 ? { kind: 'keys', keys: keyList, ignoresWatchSet: true } : { kind: 'keys', keys: keyList };
  }
  if (Array.isArray(mids) && mids.length > 0 && mids.every((mid) => Number.isSafeInteger(mid) && mid > 0)) {
    return { kind: 'mids', mids };
  }
  return all === 1 ? { kind: 'all', speedPerSec } : undefined;
}

const MINUS = 0x2d;
const ZERO = 0x30;
const MAX_DIGITS = 10;

function integer(field: Buffer | undefined): number {
  if (field === undefined) return Number.NaN;
  const start = field[0] === MINUS ? 1 : 0;
  const digitCount = field.length - start;
  if (digitCount < 1 || digitCount > MAX_DIGITS) return Number.NaN;
  let value = 0;
  for (let at = start; at < field.length; at++) {
    const digit = (field[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return start === 0 ? value : -value;
}

/** Never throws. The command's bytes are those of the reply. */
export function decodeEntry([id, rawFields]: RawEntry): DecodedEntry {
  const fields = rawFields ?? [];
  const entryId = id.toString('latin1');
  let bytes = ENTRY_OVERHEAD_BYTES;
  let messageId: Buffer | undefined;
  let to: Buffer | undefined;
  let opField: Buffer | undefined;
  let speed: Buffer | undefined;
  let part: Buffer | undefined;
  let body: Buffer | undefined;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const value = fields[at + 1] as Buffer;
    bytes += value.length;
    switch ((fields[at] as Buffer).toString('latin1')) {
      case 'id':
        messageId = value;
        break;
      case 'to':
        to = value;
        break;
      case 'op':
        opField = value;
        break;
      case 'speed':
        speed = value;
        break;
      case 'part':
        part = value;
        break;
      case 'body':
        body = value;
    }
  }
  const problem = (text: string): DecodedEntry => ({
    entryId,
    command: undefined,
    problem: text,
    partHash: 0,
    bytes,
  });
  if (messageId?.length !== MESSAGE_ID_BYTES) return problem(`the field id must have ${MESSAGE_ID_BYTES} bytes`);
  if (body === undefined) return problem('the field body is missing');
  const op = integer(opField);
  if (!(op >= -INT32_LIMIT && op < INT32_LIMIT)) return problem('the field op must be an int32');
  const speedPerSec = speed === undefined ? 0 : integer(speed);
  if (!(speedPerSec >= 0 && speedPerSec < INT32_LIMIT)) return problem('the field speed must be an int32 of 0 or more');
  const target = to === undefined ? undefined : decodeTarget(to.toString('utf8'), speedPerSec);
  if (target === undefined) return problem('the field to must be a target');
  const partHash = part === undefined ? 0 : integer(part) | 0;
  return { entryId, command: { target, op, body, messageId }, problem: '', partHash, bytes };
}

/** The entries of an XREAD or XRANGE reply, whichever protocol version the connection speaks. */
export function entriesOf(reply: unknown): readonly RawEntry[] {
  if (reply === null || reply === undefined) return [];
  if (reply instanceof Map) return ([...reply.values()][0] ?? []) as readonly RawEntry[];
  if (!Array.isArray(reply)) return (Object.values(reply)[0] ?? []) as readonly RawEntry[];
  return ((reply[0] as [Buffer, readonly RawEntry[]] | undefined)?.[1] ?? []) as readonly RawEntry[];
}
