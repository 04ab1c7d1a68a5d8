/**
 * What a door does with an exception of a handler. The error handler is our own code and must not throw; if it does, neither the
 * process nor the bucket may end by it.
 */
import type { Channel } from './channel.js';
import type { Door, DoorHandlers } from './door.js';

export function tellError(
  handlers: Pick<DoorHandlers, 'onError'>,
  door: Pick<Door, 'discards'>,
  error: unknown,
  channel: Channel | undefined,
): void {
  try {
    handlers.onError(error, channel);
  } catch (second) {
    door.discards.ignore(second, 'error handler');
  }
}
