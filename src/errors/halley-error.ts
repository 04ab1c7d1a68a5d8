/**
 * The one exception class of Halley: misuse, start-up and I/O (tier 4 of five, see index.ts).
 */

/** Facts that belong to an error. Rendered as `name=value` at the end of the message, in the order given. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | bigint | null | undefined>>;

/** Render one detail value so that a reader can copy it: strings quoted, the rest as written. */
function renderDetail(value: ErrorDetails[string]): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

export class HalleyError extends Error {
  override readonly name = 'HalleyError';
  /** Stable upper-case identifier, for example `PORT_TAKEN`. Programs branch on it, never on the message. */
  readonly code: string;
  readonly details: ErrorDetails;

  /**
   * @param code stable identifier, upper case with underscores
   * @param message what was wrong and what was expected, one sentence, no trailing dot
   * @param details facts, appended to the message as `name=value`
   * @param cause the error that led here, if any
   */
  constructor(code: string, message: string, details: ErrorDetails = {}, cause?: unknown) {
    const facts = Object.entries(details)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${renderDetail(value)}`)
      .join(' ');
    super(facts === '' ? message : `${message}: ${facts}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}
