/**
 * The message of every scenario: 64 bytes of ASCII at fixed places, so that a client finds both numbers without searching.
 *
 * ```text
 * 0   4 6          16  20                  39 40                     64
 * +---+-+----------+---+-------------------+-+------------------------+
 * |MSG;|n=|0000000042|;ts=|0000123456789012345|;|AAAAAAAAAAAAAAAAAAAAAAAA|
 * +---+-+----------+---+-------------------+-+------------------------+
 *       number       due time, monotonic ns    padding
 * ```
 *
 * `n` counts from 0 per target (room or key), so each connection of a target sees 0, 1, 2 and so on.
 */
export const MESSAGE_BYTES = 64;
export const NUMBER_OFFSET = 6;
export const NUMBER_DIGITS = 10;
export const STAMP_OFFSET = 20;
export const STAMP_DIGITS = 19;

const TEMPLATE = `MSG;n=${'0'.repeat(NUMBER_DIGITS)};ts=${'0'.repeat(STAMP_DIGITS)};`.padEnd(MESSAGE_BYTES, 'A');
const DIGIT_ZERO = 48;

/** CLOCK_MONOTONIC in nanoseconds: one clock for every process of the machine; exact to the ns below 104 days of uptime. */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint());
}

function writeDigits(bytes: Uint8Array, offset: number, digits: number, value: number): void {
  let rest = value;
  for (let position = offset + digits - 1; position >= offset; position--) {
    const next = Math.floor(rest / 10);
    bytes[position] = DIGIT_ZERO + (rest - next * 10);
    rest = next;
  }
}

function readDigits(bytes: Uint8Array, offset: number, digits: number): number {
  let value = 0;
  for (let position = offset; position < offset + digits; position++) {
    value = value * 10 + (bytes[position]! - DIGIT_ZERO);
  }
  return value;
}

/** A fresh message, owned by the caller. */
export function makeMessage(number: number, stampNs: number): Buffer {
  const bytes = Buffer.from(TEMPLATE, 'latin1');
  writeDigits(bytes, NUMBER_OFFSET, NUMBER_DIGITS, number);
  writeDigits(bytes, STAMP_OFFSET, STAMP_DIGITS, Math.floor(stampNs));
  return bytes;
}

/** The number of the message that starts at `offset`. */
export function readNumber(bytes: Uint8Array, offset: number): number {
  return readDigits(bytes, offset + NUMBER_OFFSET, NUMBER_DIGITS);
}

/** The time stamp, in monotonic nanoseconds, of the message that starts at `offset`. */
export function readStampNs(bytes: Uint8Array, offset: number): number {
  return readDigits(bytes, offset + STAMP_OFFSET, STAMP_DIGITS);
}
