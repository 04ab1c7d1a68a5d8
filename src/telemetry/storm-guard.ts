/**
 * A logger in front of another that lets one record per distinct stack or message through within a window and counts the
 * repeats: ten thousand channels that fail alike make one line and a number, not ten thousand lines.
 *
 * Threads: one per thread, used by it alone. It has no timer: its owner calls `sweep` (a bucket from its timing wheel).
 * Guarantees: nothing is lost without being counted. Every record is either passed on at once or counted, and the count is
 *   logged with the fields of the last repeat when its window has passed (at the next sweep or the next such record), or
 *   before that when its place is needed. Fatal records always pass.
 */
import { HalleyError } from '../errors/index.js';
import { type LogFields, type Logger, type LogLevel, loggerOf } from './log.port.js';

export interface StormGuardOptions {
  /** Where records go. */
  readonly target: Logger;
  /** A monotonic clock in milliseconds. */
  readonly nowMs: () => number;
  /** Time from a record that passed during which its like are counted; above 0. Default 10 s. */
  readonly windowMs?: number;
  /** Distinct records remembered, 1 or more. Where there are more, the oldest is reported and forgotten. Default 256. */
  readonly maxDistinct?: number;
}

interface Window {
  readonly level: LogLevel;
  readonly message: string;
  readonly endMs: number;
  repeatCount: number;
  lastFields: LogFields;
}

export interface StormGuard {
  readonly logger: Logger;
  /** Report and forget every window that has passed. Call it about once per window. */
  sweep(): void;
  /** Report and forget all windows; call it before the thread ends. */
  flush(): void;
}

/** Put a guard in front of `target`. */
export function stormGuard({ target, nowMs, windowMs = 10_000, maxDistinct = 256 }: StormGuardOptions): StormGuard {
  if (!(windowMs > 0)) throw new HalleyError('BAD_WINDOW', 'windowMs must be above 0', { windowMs });
  if (!(maxDistinct >= 1)) throw new HalleyError('BAD_MAX_DISTINCT', 'maxDistinct must be 1 or more', { maxDistinct });
  /** In order of opening, so that the first is the oldest and the first to pass. */
  const windowByKey = new Map<string, Window>();

  function close(key: string, window: Window): void {
    windowByKey.delete(key);
    if (window.repeatCount === 0) return;
    target[window.level]({ ...window.lastFields, repeats: window.repeatCount }, `${window.message} (repeated)`);
  }

  function write(level: LogLevel, fields: LogFields, message: string): void {
    if (level === 'fatal') {
      target.fatal(fields, message);
      return;
    }
    const key = keyOf(level, fields, message);
    const open = windowByKey.get(key);
    if (open !== undefined && nowMs() < open.endMs) {
      open.repeatCount++;
      open.lastFields = fields;
      return;
    }
    if (open !== undefined) close(key, open);
    if (windowByKey.size >= maxDistinct) closeOldest();
    windowByKey.set(key, { level, message, endMs: nowMs() + windowMs, repeatCount: 0, lastFields: fields });
    target[level](fields, message);
  }

  function closeOldest(): void {
    for (const [key, window] of windowByKey) {
      close(key, window);
      return;
    }
  }

  return {
    logger: loggerOf(write),
    sweep() {
      const now = nowMs();
      for (const [key, window] of windowByKey) {
        if (window.endMs > now) return;
        close(key, window);
      }
    },
    flush() {
      for (const [key, window] of windowByKey) close(key, window);
    },
  };
}

/** Records are alike where level and message agree and, where there is an error, its stack (message and place) too. */
function keyOf(level: LogLevel, fields: LogFields, message: string): string {
  const error = fields['err'];
  const place = error instanceof Error ? (error.stack ?? error.message) : '';
  return `${level}\n${message}\n${place}`;
}
