/**
 * How a connection stands, what it tells, and what it needs.
 */
import type { Clock } from '../clock/index.js';
import type { InboundMessage } from './frame.js';
import type { MembershipListener } from './membership.js';
import type { OpenSocket, Schedule } from './socket.port.js';

/** How a connection ended. */
export interface ConnectionEnd {
  readonly code: number;
  /** Of the server, or ours; may be empty. */
  readonly reason: string;
}

export type ConnectionStatus =
  | { readonly phase: 'idle' }
  | { readonly phase: 'connecting'; readonly url: string }
  /** `sinceMs`: wall clock. */
  | { readonly phase: 'online'; readonly sinceMs: number }
  | { readonly phase: 'waiting'; readonly end: ConnectionEnd; readonly delayMs: number; readonly attemptCount: number }
  | { readonly phase: 'closed'; readonly end: ConnectionEnd };

export interface ConnectionListener extends MembershipListener {
  statusChanged(status: ConnectionStatus): void;
  /** One WebSocket message brought these pushes. */
  pushesArrived(messages: readonly InboundMessage[]): void;
  /** @param memberCount of the primary room on the whole cluster, 0 without one */
  heartbeatAnswered(memberCount: number, roundTripMs: number): void;
}

export interface ConnectionPorts {
  readonly openSocket: OpenSocket;
  readonly clock: Clock;
  readonly schedule: Schedule;
  /** From 0 up to, not including, 1. */
  readonly random: () => number;
}
