/**
 * The doors that the configuration asks for, made.
 *
 * Threads: its bucket.
 */
import type { BucketOptions } from './bucket-options.js';
import type { DoorHandlers } from './door.js';
import { Doors } from './doors.js';
import { WsListener } from './ws-listener.js';

/** Far above every limit of ours, so that a body that is too large is answered with a code and not by uWS's bare close. */
const MAX_PAYLOAD_BYTES = 131_072;

/** Nothing listens yet. */
export function openDoors(options: BucketOptions, handlers: DoorHandlers): Doors {
  const webSocket = new WsListener(
    {
      host: options.host,
      port: options.port,
      maxBackpressureBytes: options.maxBackpressureBytes,
      maxPayloadBytes: MAX_PAYLOAD_BYTES,
    },
    handlers,
  );
  return new Doors(webSocket, []);
}
