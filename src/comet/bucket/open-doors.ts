/**
 * The doors that the configuration asks for, made.
 *
 * Threads: its bucket.
 */
import { HalleyError } from '../../errors/index.js';
import type { BucketOptions } from './bucket-options.js';
import { BucketTls } from './bucket-tls.js';
import type { Door, DoorHandlers } from './door.js';
import { Doors } from './doors.js';
import { WsListener } from './ws-listener.js';
import { WssListener } from './wss-listener.js';

/** Far above every limit of ours, so that a body that is too large is answered with a code and not by uWS's bare close. */
const MAX_PAYLOAD_BYTES = 131_072;

/** Nothing listens yet. @throws HalleyError TLS_REFUSED, or NO_DOOR where the options name none */
export function openDoors(options: BucketOptions, handlers: DoorHandlers): Doors {
  const { host, maxBackpressureBytes } = options;
  const common = { host, maxBackpressureBytes, maxPayloadBytes: MAX_PAYLOAD_BYTES };
  const doors: Door[] = [];
  if (options.port !== 0) doors.push(new WsListener({ ...common, port: options.port }, handlers));
  const tls = options.tls === undefined ? undefined : new BucketTls(options.tls.set);
  if (options.tls !== undefined && tls !== undefined) {
    doors.push(new WssListener({ ...common, port: options.tls.wsPort }, () => tls.set, handlers));
  }
  const [main, ...others] = doors;
  if (main === undefined) throw new HalleyError('NO_DOOR', 'a bucket needs a port to listen on');
  return new Doors(main, others, tls);
}
