/**
 * Outcomes of the hot path (tier 1): small integers, never thrown, never allocated.
 */

/** What became of something handed over inside the process. */
export const OUTCOME = { OK: 0, FULL: 1, CLOSED: 2, TOO_LARGE: 3 } as const;
export type Outcome = (typeof OUTCOME)[keyof typeof OUTCOME];

/** What became of a write to a client's socket. */
export const SEND_OUTCOME = { SENT: 0, BUFFERED: 1, DROPPED: 2, CLOSED: 3 } as const;
export type SendOutcome = (typeof SEND_OUTCOME)[keyof typeof SEND_OUTCOME];
