/**
 * The status line: where the connection stands, in one sentence.
 */
import { CLOSE } from '../errors/index.js';
import type { ConnectionEnd, ConnectionStatus } from './connection-status.js';

export function statusText(status: ConnectionStatus): string {
  switch (status.phase) {
    case 'idle':
      return 'Not connected';
    case 'connecting':
      return `Connecting to ${status.url}`;
    case 'online':
      return `Online since ${new Date(status.sinceMs).toLocaleTimeString('en-GB')}`;
    case 'waiting':
      return `Closed ${endText(status.end)}. Reconnecting in ${(status.delayMs / 1000).toFixed(1)} s (attempt ${status.attemptCount})`;
    case 'closed':
      return `Closed ${endText(status.end)}. Not reconnecting`;
  }
}

/** `3500 taken over`; where the server gave no reason, what the code means. */
export function endText({ code, reason }: ConnectionEnd): string {
  const meaning = reason === '' ? meaningOf(code) : reason;
  return meaning === '' ? String(code) : `${code} ${meaning}`;
}

function meaningOf(code: number): string {
  // The WebSocket's own two that a person meets.
  if (code === 1006) return 'connection lost';
  if (code === 1001) return 'the server went away';
  return Object.values(CLOSE).find((row) => row.code === code)?.reason ?? '';
}
