/**
 * Nothing may throw into C++: wrappers for the callbacks that are given to uWebSockets.js.
 *
 * Hot path: a guarded call allocates nothing. Arguments are passed by position, up to four, because a rest array would be
 *   made per call.
 */

/** Where the error of a guarded callback goes. It must not throw. */
export type GuardSink = (error: unknown) => void;

/** A callback of up to four arguments. */
export type Callback<A, B, C, D> = (a: A, b: B, c: C, d: D) => unknown;

/** An HTTP response of uWebSockets.js, as far as the guard needs it. */
export interface AbortableResponse {
  onAborted(handler: () => void): unknown;
}

function ignoreAbort(): void {}

/** A rejection of an asynchronous callback is an error of it as well. */
function catchRejection(result: unknown, sink: GuardSink): void {
  if (typeof result === 'object' && result !== null && typeof (result as PromiseLike<unknown>).then === 'function') {
    (result as PromiseLike<unknown>).then(undefined, sink);
  }
}

/**
 * `callback`, but an exception or rejection goes to `sink`, and once `isInert()` is true it does nothing at all. The
 * result is dropped.
 */
export function guard<A, B, C, D>(
  callback: Callback<A, B, C, D>,
  sink: GuardSink,
  isInert: () => boolean,
): (a: A, b: B, c: C, d: D) => void {
  return (a, b, c, d) => {
    if (isInert()) return;
    try {
      const result = callback(a, b, c, d);
      if (result !== undefined) catchRejection(result, sink);
    } catch (error) {
      sink(error);
    }
  };
}

/**
 * guard() for HTTP and upgrade handlers. uWebSockets.js ends the process when such a handler returns without an answer
 * and without onAborted; therefore one is attached before anything else, also when inert. The handler may attach its own.
 */
export function guardHttp<R extends AbortableResponse, B, C, D>(
  callback: Callback<R, B, C, D>,
  sink: GuardSink,
  isInert: () => boolean,
): (response: R, b: B, c: C, d: D) => void {
  return (response, b, c, d) => {
    try {
      response.onAborted(ignoreAbort);
      if (isInert()) return;
      const result = callback(response, b, c, d);
      if (result !== undefined) catchRejection(result, sink);
    } catch (error) {
      sink(error);
    }
  };
}
