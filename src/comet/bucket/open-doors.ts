/**
 * The doors that the configuration asks for, made.
 *
 * Threads: its bucket.
 */
import type { TemplatedApp } from 'uWebSockets.js';
import type { Clock } from '../../clock/index.js';
import { HalleyError } from '../../errors/index.js';
import type { ThreadCounters } from '../../telemetry/index.js';
import { type FallbackNode, HttpDoor } from '../http/http-door.js';
import type { NodeLookups } from '../http/node-lookups.js';
import type { AddressCounts } from '../limits/address-counts.js';
import type { Admission } from '../limits/admission.js';
import { openAdmission } from '../limits/open-admission.js';
import { opensTcpPort, sharesTcpPort } from '../tcp/port-sharing.js';
import { TcpListener } from '../tcp/tcp-listener.js';
import type { BucketOptions } from './bucket-options.js';
import { BucketTls } from './bucket-tls.js';
import type { Door, DoorHandlers } from './door.js';
import { Doors } from './doors.js';
import { WsListener } from './ws-listener.js';
import { WssListener } from './wss-listener.js';

/** Far above every limit of ours, so that a body that is too large is answered with a code and not by uWS's bare close. */
const MAX_PAYLOAD_BYTES = 131_072;

export interface DoorParts {
  readonly clock: Clock;
  readonly counters: ThreadCounters;
  /** Given where `limits.connections_per_ip` is on. */
  readonly addressCounts?: AddressCounts | undefined;
  readonly thread: number;
  readonly incarnation: number;
  readonly fallback: FallbackNode;
  readonly nodes: NodeLookups;
}

/** Nothing listens yet. @throws HalleyError TLS_REFUSED, or NO_DOOR where the options name none */
export function openDoors(options: BucketOptions, handlers: DoorHandlers, parts: DoorParts): Doors {
  const { host, maxBackpressureBytes, limits, reconnectWindowMs } = options;
  const admission = openAdmission({ ...limits, reconnectWindowMs }, parts);
  const fallbacks = new HttpDoor(
    {
      bucket: parts.thread,
      incarnation: parts.incarnation,
      maxBackpressureBytes,
      reconnectWindowMs,
      replayBytes: options.fallbackReplayBytes,
      pollMaxWaitMs: options.fallbackPollMaxWaitMs,
      requestBodyBytes: options.requestBodyBytes,
      postMaxBytes: MAX_PAYLOAD_BYTES,
    },
    handlers,
    { node: parts.fallback, nodes: parts.nodes, clock: parts.clock, admission },
  );
  const routes = (app: TemplatedApp) => fallbacks.attach(app);
  const common = { host, maxBackpressureBytes, maxPayloadBytes: MAX_PAYLOAD_BYTES, routes };
  const doors: Door[] = [];
  if (options.port !== 0) doors.push(new WsListener({ ...common, port: options.port }, handlers, admission));
  const tls = options.tls === undefined ? undefined : new BucketTls(options.tls.set);
  if (options.tls !== undefined && tls !== undefined) {
    doors.push(new WssListener({ ...common, port: options.tls.wsPort }, () => tls.set, handlers, admission));
  }
  const [main, ...others] = doors;
  if (main === undefined) throw new HalleyError('NO_DOOR', 'a bucket needs a port to listen on');
  others.push(fallbacks, ...tcpDoors(options, handlers, parts.thread, admission, tls));
  return new Doors(main, others, tls);
}

function tcpDoors(
  options: BucketOptions,
  handlers: DoorHandlers,
  thread: number,
  admission: Admission | undefined,
  tls: BucketTls | undefined,
): readonly Door[] {
  const sharesPort = sharesTcpPort(process.versions.node, process.platform);
  if (!opensTcpPort(thread, sharesPort)) return [];
  const { host, tcpPort, maxBackpressureBytes, handshakeTimeoutMs } = options;
  const { bodyBytes, requestBodyBytes: maxBodyBytes } = options;
  const bodies = { maxBodyBytes, authBodyBytes: Math.min(bodyBytes, maxBodyBytes) };
  const common = { host, sharesPort, maxBackpressureBytes, handshakeTimeoutMs, ...bodies };
  const doors: Door[] = [];
  if (tcpPort !== 0) doors.push(new TcpListener({ ...common, port: tcpPort }, handlers, admission));
  if (tls !== undefined && options.tls !== undefined && options.tls.tcpPort !== 0) {
    const secure = { ...common, port: options.tls.tcpPort, tls: () => tls.options() };
    doors.push(new TcpListener(secure, handlers, admission));
  }
  return doors;
}
