/**
 * goim-online: goim's three counts, of the whole cluster, and ours beside them, which tell the nodes apart. goim answers from a
 * map that lags by up to 50 s and keeps emptied rooms (W4); here this node's part is right when the request that changed it has
 * been answered, and the other nodes' parts two seconds later.
 */
import type { MaybePromise, RoomCount } from '../../push/index.js';
import { Binder } from './binder.js';
import { roomId } from './goim-push.js';
import { dataReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';
import { topRooms } from './top-rooms.js';

export function onlineTop(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const bind = new Binder(request.query);
  const type = bind.text('Type', 'type', 'required');
  const limit = bind.atLeastOne('Limit', 'limit');
  const failure = bind.failure();
  if (failure !== undefined) return failure;
  // goim matches every room whose id starts with the type, so `te` also finds `test://1`, and it reads the id as a URL, so
  // that `test://a/b` becomes `a`. Both are defects: here the type is what stands before "://", the id all that follows.
  const prefix = roomId(type, '');
  return rowsReply(topRooms(services.online.roomCounts(prefix), limit), ({ room, count }) => ({
    room_id: room.slice(prefix.length),
    count,
  }));
}

export function onlineRoom(services: ApiServices, request: ApiRequest): Reply {
  const bind = new Binder(request.query);
  const type = bind.text('Type', 'type', 'required');
  const rooms = bind.texts('Rooms', 'rooms', 'required');
  const failure = bind.failure();
  if (failure !== undefined) return failure;
  // fromEntries defines members, so a room that is called `__proto__` is one like any other.
  return dataReply(Object.fromEntries(rooms.map((room) => [room, services.online.roomCount(roomId(type, room))])));
}

export function onlineTotal(services: ApiServices): Reply {
  return dataReply({ conn_count: services.online.connectionCount(), ip_count: services.online.ipCount() });
}

/** The fullest rooms of all types, or of one, by whole ids. */
export function clusterTop(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const bind = new Binder(request.query);
  const limit = bind.atLeastOne('Limit', 'limit');
  const failure = bind.failure();
  if (failure !== undefined) return failure;
  const type = request.query.first('type') ?? '';
  const prefix = type === '' ? '' : roomId(type, '');
  return rowsReply(topRooms(services.online.roomCounts(prefix), limit), ({ room }) => roomRow(services, room));
}

/** Rooms by whole id, in the order asked for. */
export function clusterRooms(services: ApiServices, request: ApiRequest): Reply {
  const bind = new Binder(request.query);
  const rooms = bind.texts('Rooms', 'rooms', 'required');
  return bind.failure() ?? dataReply(rooms.map((room) => roomRow(services, room)));
}

export function clusterTotal({ online }: ApiServices): Reply {
  return dataReply({
    conn_count: online.connectionCount(),
    ip_count: online.ipCount(),
    nodes: online.nodes().map(({ serverId, isLocal, connCount, ipCount, roomCount }) => ({
      server_id: serverId,
      local: isLocal,
      conn_count: connCount,
      ip_count: ipCount,
      room_count: roomCount,
    })),
  });
}

function roomRow({ online }: ApiServices, room: string) {
  return { room, count: online.roomCount(room), local_count: online.localRoomCount(room) };
}

function rowsReply(rooms: MaybePromise<RoomCount[]>, rowOf: (room: RoomCount) => unknown): MaybePromise<Reply> {
  return rooms instanceof Promise ? rooms.then((found) => dataReply(found.map(rowOf))) : dataReply(rooms.map(rowOf));
}
