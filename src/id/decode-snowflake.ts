/**
 * The parts of a snowflake, for people, logs and tests. Not for the hot path: it goes through BigInt.
 */
import { HalleyError } from '../errors/index.js';

export interface SnowflakeParts {
  /** Wall clock ms since 1970. */
  readonly timestampMs: number;
  /** 0 to 1,023. */
  readonly machineId: number;
  /** 0 to 4,095. */
  readonly sequence: number;
}

const MAX_ID = (1n << 63n) - 1n;

/**
 * Take an id apart. Throws ID_MALFORMED for what cannot be one.
 *
 * @param id a bigint from 0 to 2^63 - 1, its decimal string without sign or leading zeros, or its 8 bytes, big-endian
 * @param epochMs the id epoch that the id was drawn with
 */
export function decodeSnowflake(id: bigint | string | Uint8Array, epochMs: number): SnowflakeParts {
  const value = typeof id === 'bigint' ? id : typeof id === 'string' ? parseDecimal(id) : readBytes(id);
  if (value < 0n || value > MAX_ID) throw malformed('an id is from 0 to 2^63 - 1', String(value));
  return {
    timestampMs: epochMs + Number(value >> 22n),
    machineId: Number((value >> 12n) & 1023n),
    sequence: Number(value & 4095n),
  };
}

function parseDecimal(text: string): bigint {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text)) throw malformed('an id is 1 to 19 decimal digits', text.slice(0, 40));
  return BigInt(text);
}

function readBytes(bytes: Uint8Array): bigint {
  if (bytes.length !== 8) throw malformed('an id is 8 bytes', `${bytes.length} bytes`);
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}

function malformed(expectation: string, id: string): HalleyError {
  return new HalleyError('ID_MALFORMED', expectation, { id });
}
