/**
 * The doors that the configuration asks for, made.
 *
 * Threads: its bucket.
 */
import { opensTcpPort, sharesTcpPort } from '../tcp/port-sharing.js';
import { TcpListener } from '../tcp/tcp-listener.js';
import type { BucketOptions } from './bucket-options.js';
import type { Door, DoorHandlers } from './door.js';
import { Doors } from './doors.js';
import { WsListener } from './ws-listener.js';

/** Far above every limit of ours, so that a body that is too large is answered with a code and not by uWS's bare close. */
const MAX_PAYLOAD_BYTES = 131_072;

/** Nothing listens yet. @param thread the bucket's own */
export function openDoors(options: BucketOptions, handlers: DoorHandlers, thread: number): Doors {
  const webSocket = new WsListener(
    {
      host: options.host,
      port: options.port,
      maxBackpressureBytes: options.maxBackpressureBytes,
      maxPayloadBytes: MAX_PAYLOAD_BYTES,
    },
    handlers,
  );
  return new Doors(webSocket, tcpDoors(options, handlers, thread));
}

function tcpDoors(options: BucketOptions, handlers: DoorHandlers, thread: number): readonly Door[] {
  const sharesPort = sharesTcpPort(process.versions.node, process.platform);
  if (!opensTcpPort(thread, sharesPort)) return [];
  const { host, tcpPort: port, maxBackpressureBytes, requestBodyBytes: maxBodyBytes, handshakeTimeoutMs } = options;
  return [
    new TcpListener({ host, port, maxBackpressureBytes, maxBodyBytes, handshakeTimeoutMs, sharesPort }, handlers),
  ];
}
