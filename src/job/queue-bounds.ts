/** What every queue of this folder asks of its bounds. */
import { HalleyError } from '../errors/index.js';

/** @throws HalleyError BAD_OPTION unless each of `names` is an integer of 1 or more */
export function requireBounds<Name extends string>(
  options: Readonly<Record<Name, number>>,
  names: readonly Name[],
): void {
  for (const name of names) {
    const value = options[name];
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new HalleyError('BAD_OPTION', `${name} must be an integer of 1 or more`, { [name]: value });
    }
  }
}
