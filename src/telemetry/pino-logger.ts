/**
 * The log port on pino: one JSON line per record.
 *
 * Threads: each thread makes its own, all on the same file descriptor. A line is written whole and at once: a bucket may end
 *   by process.exit, and lines in a buffer would be lost just when they matter.
 * Guarantees: fields named like a secret are redacted, at the top and one level below.
 */
import { type DestinationStream, pino, stdSerializers } from 'pino';
import { type Logger, type LogLevel, loggerOf } from './log.port.js';

const SECRET_FIELDS = ['token', 'jwt_secret', 'secret', 'password', 'authorization', 'cookie'];

export interface PinoLoggerOptions {
  /** `log.level` of the configuration; `silent` writes nothing. */
  readonly level: LogLevel | 'silent';
  /** Fields of every record, for example server id and thread. */
  readonly fields?: Readonly<Record<string, unknown>>;
  /** Where lines go; undefined is standard error (standard output is for people and pipes). It must be synchronous. */
  readonly destination?: DestinationStream;
}

/** A logger that writes JSON lines. */
export function pinoLogger({ level, fields = {}, destination }: PinoLoggerOptions): Logger {
  const sink = pino(
    {
      level,
      base: fields,
      redact: { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
      serializers: { err: stdSerializers.errWithCause },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
  return loggerOf((recordLevel, recordFields, message) => sink[recordLevel](recordFields, message));
}
