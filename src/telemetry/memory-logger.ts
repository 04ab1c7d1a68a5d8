/**
 * The log port in memory, for tests: what was logged, in order.
 */
import { type LogFields, type Logger, type LogLevel, loggerOf } from './log.port.js';

export interface LogRecord {
  readonly level: LogLevel;
  readonly fields: LogFields;
  readonly message: string;
}

export interface MemoryLog {
  readonly logger: Logger;
  /** Every record so far, children's included; grows as the logger is used. */
  readonly records: readonly LogRecord[];
}

/** A logger and the records it takes. */
export function memoryLog(): MemoryLog {
  const records: LogRecord[] = [];
  return { records, logger: loggerOf((level, fields, message) => records.push({ level, fields, message })) };
}
