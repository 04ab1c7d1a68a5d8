/** Reads what the server answers to extended channels, in the order in which it came. */
import {
  type Codec,
  decodeBody,
  decodeDisconnect,
  decodeRoomReplies,
  type RoomReply,
} from '../../src/protocol/index.js';
import type { WireClient } from '../kit/index.js';

export interface Welcome {
  readonly key: string;
  readonly heartbeat_s: number;
  readonly rooms: readonly RoomReply[];
}

/** The body of op 8. */
export async function welcomeOf(client: WireClient, codec: Codec = 'json'): Promise<Welcome> {
  const body = decodeBody(codec, (await client.expect(8)).body);
  if (!body.ok) throw new Error(body.error);
  return body.value as Welcome;
}

/** The rows of an op 19 or 21. */
export function roomRows(body: Uint8Array, codec: Codec = 'json'): RoomReply[] {
  const rows = decodeRoomReplies(codec, body);
  if (!rows.ok) throw new Error(rows.error);
  return rows.value;
}

/** JoinRooms and its answer. */
export async function join(client: WireClient, ...rooms: readonly string[]): Promise<RoomReply[]> {
  return roomRows((await client.request(18, JSON.stringify(rooms), 19)).body);
}

/** LeaveRooms and its answer. */
export async function leave(client: WireClient, ...rooms: readonly string[]): Promise<RoomReply[]> {
  return roomRows((await client.request(20, JSON.stringify(rooms), 21)).body);
}

/** The op 6 that came before a close. */
export function adviceOf(client: WireClient, codec: Codec = 'json') {
  const packet = client.packets.find(({ op }) => op === 6);
  if (packet === undefined) throw new Error('there was no op 6');
  const advice = decodeDisconnect(codec, packet.body);
  if (!advice.ok) throw new Error(advice.error);
  return advice.value;
}
