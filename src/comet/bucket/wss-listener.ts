/**
 * The WebSocket over TLS: an app of uWebSockets.js for each set of certificates. An app's own certificate cannot be exchanged, so
 * a reload opens a fresh app on the same port (SO_REUSEPORT) and closes the listen socket of the one before it, whose sockets
 * stay where they are and go on getting what is published.
 *
 * Threads: its bucket.
 * Guarantees: a reload that fails changes nothing. A connection that waits in the queue of a listen socket is reset when that is
 *   closed: so it is closed right behind a poll that found nothing to do, some 50 us after it was seen empty. That leaves those
 *   whose TCP handshake is under way over a long line; with `net.ipv4.tcp_migrate_req=1` (Linux 5.14) the kernel hands them over.
 *   An app is never given up before closeAll(): one that dies with open sockets would take the process along (crash rule), and
 *   uWS does not say whether it has any. That costs nothing: uWS keeps the 33 KiB of an app (measured) closed or not.
 * Hot path: publish().
 */
import { DiscardCounter } from '../../errors/index.js';
import type { Admission } from '../limits/admission.js';
import type { TlsSet } from '../tls/index.js';
import type { Door, DoorHandlers } from './door.js';
import { tellError } from './tell-error.js';
import { WsListener, type WsListenerOptions } from './ws-listener.js';

interface Era {
  readonly generation: number;
  readonly listener: WsListener;
  /** Channels whose socket is in this app: a topic tree without any need not be asked. */
  channelCount: number;
}

/** A turn of the loop this short has accepted nobody. */
const QUIET_TURN_MS = 0.1;
/** A bucket that is never quiet closes the old listen socket then. */
const MAX_WAIT_MS = 1_000;

export class WssListener implements Door {
  readonly #options: Omit<WsListenerOptions, 'tls'>;
  readonly #handlers: DoorHandlers;
  readonly #admission: Admission | undefined;
  readonly #tls: () => TlsSet;
  #current: Era;
  #old: readonly Era[] = [];
  #isAccepting = false;
  #isInert = false;
  #isClosed = false;
  readonly discards = new DiscardCounter();

  /** @param tls the newest set @param admission undefined: no rule is on */
  constructor(
    options: Omit<WsListenerOptions, 'tls'>,
    tls: () => TlsSet,
    handlers: DoorHandlers,
    admission: Admission | undefined,
  ) {
    this.#admission = admission;
    this.#options = options;
    this.#tls = tls;
    this.#handlers = handlers;
    this.#current = this.#era(tls());
  }

  async listen(): Promise<void> {
    this.#isAccepting = true;
    await this.#current.listener.listen();
  }

  stopAccepting(): void {
    this.#isAccepting = false;
    for (const { listener } of this.#all()) listener.stopAccepting();
  }

  publish(topic: string, bytes: Uint8Array): void {
    if (this.#current.channelCount > 0) this.#current.listener.publish(topic, bytes);
    const old = this.#old;
    for (let index = 0; index < old.length; index++) {
      const era = old[index]!;
      if (era.channelCount > 0) era.listener.publish(topic, bytes);
    }
  }

  /** New handshakes take the newest set from the end of this call. Rejects with HalleyError LISTEN_FAILED or TLS_REFUSED. */
  async reloadTls(): Promise<void> {
    const set = this.#tls();
    if (set.generation === this.#current.generation || this.#isClosed) return;
    const before = this.#current;
    const next = this.#era(set);
    if (this.#isAccepting) {
      try {
        await next.listener.listen();
      } catch (error) {
        next.listener.closeAll();
        throw error;
      }
    }
    if (this.#isClosed) {
      next.listener.closeAll();
      return;
    }
    if (this.#isInert) next.listener.makeInert();
    if (!this.#isAccepting) next.listener.stopAccepting();
    this.#old = [...this.#old, before];
    this.#current = next;
    await quietTurn();
    before.listener.stopAccepting();
  }

  makeInert(): void {
    this.#isInert = true;
    for (const { listener } of this.#all()) listener.makeInert();
  }

  closeAll(): void {
    this.#isAccepting = false;
    this.#isClosed = true;
    for (const { listener } of this.#all()) listener.closeAll();
  }

  #all(): readonly Era[] {
    return [this.#current, ...this.#old];
  }

  #era(tls: TlsSet): Era {
    const handlers = this.#handlers;
    const counted: DoorHandlers = {
      ...handlers,
      create: () => {
        const created = handlers.create();
        if (!('code' in created)) era.channelCount += 1;
        return created;
      },
      close: (channel) => {
        era.channelCount -= 1;
        handlers.close(channel);
      },
      onError: (error, channel) => tellError(handlers, this, error, channel),
    };
    const listener = new WsListener({ ...this.#options, tls }, counted, this.#admission);
    const era: Era = { generation: tls.generation, listener, channelCount: 0 };
    return era;
  }
}

/** Resolves within the check phase behind a poll that found nothing, the event loop's quietest moment. */
function quietTurn(): Promise<void> {
  const endMs = performance.now() + MAX_WAIT_MS;
  return new Promise((resolve) => {
    let beforeMs = 0;
    const look = () => {
      const nowMs = performance.now();
      // The first look may come without a poll before it.
      if ((beforeMs > 0 && nowMs - beforeMs < QUIET_TURN_MS) || nowMs > endMs) {
        resolve();
        return;
      }
      beforeMs = performance.now();
      setImmediate(look);
    };
    setImmediate(look);
  });
}
