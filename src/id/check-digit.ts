/**
 * Check digits over the characters of an id, as bytes: Luhn (ISO/IEC 7812-1) and mod 97-10 (ISO/IEC 7064, as in IBAN).
 *
 * `-`, `_`, `.`, `/` and `:` are separators and count for nothing. Luhn finds every wrong digit and nearly every swap of
 * neighbours (not 09 for 90); mod 97-10 finds every wrong character and every swap.
 *
 * Hot path: both; no garbage.
 */

const ZERO = 48;
const NINE = 57;
const UPPER_A = 65;
const UPPER_Z = 90;

/** The digit (0 to 9) that follows the first `count` bytes. Bytes other than ASCII digits are passed over. */
export function luhnDigitOf(bytes: Uint8Array, count: number): number {
  let sum = 0;
  let isDoubled = true;
  for (let index = count - 1; index >= 0; index--) {
    const byte = bytes[index]!;
    if (byte < ZERO || byte > NINE) continue;
    let digit = byte - ZERO;
    if (isDoubled) {
      digit *= 2;
      if (digit > 9) digit -= 9;
    }
    isDoubled = !isDoubled;
    sum += digit;
  }
  return (10 - (sum % 10)) % 10;
}

/** The number (2 to 98, written as two digits) that follows bytes whose mod97RemainderOf is `remainder`. */
export function mod97After(remainder: number): number {
  return 98 - ((remainder * 100) % 97);
}

/**
 * The number that bytes spell, modulo 97: 1 where they end in their own check digits. A to Z count 10 to 35; bytes other than
 * digits and capital letters are passed over.
 *
 * @param from the first byte @param end one past the last @param remainder of what stands before `from`
 */
export function mod97RemainderOf(bytes: Uint8Array, from: number, end: number, remainder = 0): number {
  let value = remainder;
  for (let index = from; index < end; index++) {
    const byte = bytes[index]!;
    if (byte >= ZERO && byte <= NINE) value = (value * 10 + byte - ZERO) % 97;
    else if (byte >= UPPER_A && byte <= UPPER_Z) value = (value * 100 + byte - UPPER_A + 10) % 97;
  }
  return value;
}
