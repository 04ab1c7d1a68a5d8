/**
 * The port through which every room logs. Adapters: pino-logger.ts, memory-logger.ts, and storm-guard.ts around either.
 */

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Facts beside the message. An error goes under `err`: adapters render its stack and causes. Never a secret. */
export type LogFields = Readonly<Record<string, unknown>>;

/** One record. `message` is a fixed phrase; what varies goes into `fields`, so that repeats can be told from news. */
export type LogMethod = (fields: LogFields, message: string) => void;

export interface Logger {
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  /** The process cannot go on. */
  readonly fatal: LogMethod;
  /** A logger that adds `fields` to each record; a record's own fields win. */
  child(fields: LogFields): Logger;
}

/** A logger around one function that takes all levels: what the adapters have in common. */
export function loggerOf(write: (level: LogLevel, fields: LogFields, message: string) => void): Logger {
  return {
    trace: (fields, message) => write('trace', fields, message),
    debug: (fields, message) => write('debug', fields, message),
    info: (fields, message) => write('info', fields, message),
    warn: (fields, message) => write('warn', fields, message),
    error: (fields, message) => write('error', fields, message),
    fatal: (fields, message) => write('fatal', fields, message),
    child: (bound) => loggerOf((level, fields, message) => write(level, { ...bound, ...fields }, message)),
  };
}
