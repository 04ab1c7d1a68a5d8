/**
 * goim-online: goim's three counts, straight from the comet. goim answers from a map that lags by up to 50 s and keeps emptied
 * rooms (W4); here a count is right when the request that changed it has been answered.
 */
import { Binder } from './binder.js';
import { roomId } from './goim-push.js';
import { dataReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';
import { topRooms } from './top-rooms.js';

export function onlineTop(services: ApiServices, request: ApiRequest): Reply {
  const bind = new Binder(request.query);
  const type = bind.text('Type', 'type', 'required');
  const limit = bind.atLeastOne('Limit', 'limit');
  const failure = bind.failure();
  if (failure !== undefined) return failure;
  // goim matches every room whose id starts with the type, so `te` also finds `test://1`, and it reads the id as a URL, so
  // that `test://a/b` becomes `a`. Both are defects: here the type is what stands before "://", the id all that follows.
  const prefix = roomId(type, '');
  const top = topRooms(services.comet.roomCounts(), prefix, limit);
  return dataReply(top.map(({ room, count }) => ({ room_id: room.slice(prefix.length), count })));
}

export function onlineRoom(services: ApiServices, request: ApiRequest): Reply {
  const bind = new Binder(request.query);
  const type = bind.text('Type', 'type', 'required');
  const rooms = bind.texts('Rooms', 'rooms', 'required');
  const failure = bind.failure();
  if (failure !== undefined) return failure;
  // fromEntries defines members, so a room that is called `__proto__` is one like any other.
  return dataReply(Object.fromEntries(rooms.map((room) => [room, services.comet.roomCount(roomId(type, room))])));
}

export function onlineTotal(services: ApiServices): Reply {
  return dataReply({ conn_count: services.comet.connectionCount(), ip_count: services.comet.ipCount() });
}
