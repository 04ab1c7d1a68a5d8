/**
 * errors: every way in which something can be refused or fail, in five tiers.
 *
 * 1. Hot path: a small outcome (`outcome.ts`), never thrown.
 * 2. Answer to a client: `{code, message, temporary}` (`client-error.ts`).
 * 3. End of a connection: a close code whose range says "reconnect" or "stop" (`close-code.ts`).
 * 4. Misuse, start-up, I/O: `HalleyError` with a string code, details and cause (`halley-error.ts`).
 * 5. Actor failure: the supervisor's policy, a counter and a log line (`actor/`).
 *
 * Anyone may import this folder; it imports nothing.
 */
export { CLIENT_ERROR, type ClientError, type ClientErrorName, type ClientErrorRow } from './client-error.js';
export { CLOSE, type CloseCode, type CloseCodeRow, type CloseName, mayReconnect } from './close-code.js';
export { type ErrorDetails, HalleyError } from './halley-error.js';
export { DiscardCounter } from './ignore.js';
export { OUTCOME, type Outcome, SEND_OUTCOME, type SendOutcome } from './outcome.js';
