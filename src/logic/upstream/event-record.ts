/**
 * One upstream event as JSON, the same text on the stream and in a webhook's batch.
 *
 *   {id, type, at_ms, server_id, node_epoch, key?, mid?, conn_id?, room?, op?, seq?, body?, body_base64?, platform?, ip?,
 *    reason?, still_online?}
 *
 *   id           snowflake, decimal string; the same however often the event is delivered
 *   at_ms        when the node saw it, wall clock
 *   server_id, node_epoch   of the channel's node: for a session swept after its node died, that node
 *   mid          absent for a channel without a user
 *   conn_id      "bucket:connection", unique within one incarnation of a node
 *   body         a message's body as text where it is valid UTF-8; otherwise body_base64
 *   reason       of a disconnect: "client", the reason of a close code, "code N" for the backend's own, "node lost"
 *   still_online of a disconnect: the user has another device on this node, as known at once; of an offline: false
 */
import { isUtf8 } from 'node:buffer';
import type { UpstreamEventType } from '../../push/index.js';

/** An event without its id. Members that are undefined are left out. */
export interface UpstreamEvent {
  readonly type: UpstreamEventType;
  readonly at_ms: number;
  readonly server_id: string;
  readonly node_epoch: number;
  readonly key?: string | undefined;
  readonly mid?: number | undefined;
  readonly conn_id?: string | undefined;
  readonly room?: string | undefined;
  readonly op?: number | undefined;
  readonly seq?: number | undefined;
  readonly body?: string | undefined;
  readonly body_base64?: string | undefined;
  readonly platform?: string | undefined;
  readonly ip?: string | undefined;
  readonly reason?: string | undefined;
  readonly still_online?: boolean | undefined;
}

export function encodeEvent(id: string, event: UpstreamEvent): string {
  return JSON.stringify({ id, ...event });
}

/** The two forms of a body; the bytes are copied. */
export function bodyMembers(body: Uint8Array): Pick<UpstreamEvent, 'body' | 'body_base64'> {
  // The ring's memory is shared, and isUtf8 wants memory that nobody else can change.
  const copy = Buffer.from(body);
  return isUtf8(copy) ? { body: copy.toString('utf8') } : { body_base64: copy.toString('base64') };
}

/** What a webhook gets: one object around the events, which are JSON already. */
export function batchBody(serverId: string, nodeEpoch: number, events: readonly { readonly json: string }[]): string {
  let text = `{"server_id":${JSON.stringify(serverId)},"node_epoch":${nodeEpoch},"events":[`;
  for (let i = 0; i < events.length; i++) text += i === 0 ? events[i]!.json : `,${events[i]!.json}`;
  return `${text}]}`;
}
