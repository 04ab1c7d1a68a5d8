/**
 * What this node has accepted and could not publish, by channel, until the receivers have been told. A number that is missing
 * shows only when another message follows it; here a message without content follows, which says that one may be missing.
 *
 * Threads: control thread only.
 * Guarantees: every loss that was noted is told once Redis answers, within `RETRY_MS` of that; while it cannot be told it is kept.
 * Bound: `MAX_CHANNELS` rooms and nodes; beyond them it is told to all nodes, for all their rooms and direct pushes.
 */
import type { GapScope } from '../../push/index.js';
import type { ChannelKind } from './redis-bus-subscriber.js';

/** `serial` of a counted probe: what may be missing. On a channel of its own: what the channel carries. */
export const LOSS = { OF_CHANNEL: 0, DIRECT: 1, EVERY_ROOM: 2 } as const;

export interface BusLossLinks {
  readonly isUp: () => boolean;
  readonly allChannel: string;
  /** Rejects where it did not leave. */
  readonly tell: (kind: ChannelKind, channel: string, serial: number) => Promise<unknown>;
}

interface Loss {
  readonly kind: ChannelKind;
  readonly channel: string;
  readonly serial: number;
}

const MAX_CHANNELS = 8_192;
const SLICE_COUNT = 256;
const RETRY_MS = 250;

export class BusLosses {
  readonly #links: BusLossLinks;
  readonly #losses = new Map<string, Loss>();
  #noteCount = 0;
  #toldCount = 0;
  #isTelling = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(links: BusLossLinks) {
    this.#links = links;
  }

  /** Losses that were noted, and that the receivers were told of since; several on one channel are told at once. */
  gauges(): { readonly notedCount: number; readonly toldCount: number; readonly waitingCount: number } {
    return { notedCount: this.#noteCount, toldCount: this.#toldCount, waitingCount: this.#losses.size };
  }

  /** A message to this channel may not have left. */
  note(kind: ChannelKind, channel: string): void {
    this.#noteCount += 1;
    const { allChannel } = this.#links;
    if (this.#losses.size < MAX_CHANNELS || this.#losses.has(channel) || channel === allChannel) {
      this.#add({ kind, channel, serial: LOSS.OF_CHANNEL });
      return;
    }
    this.#add({ kind: 'ordinary', channel: allChannel, serial: LOSS.DIRECT });
    this.#add({ kind: 'ordinary', channel: allChannel, serial: LOSS.EVERY_ROOM });
  }

  /** The same where no channel is known. */
  noteScope(scope: Exclude<GapScope, { readonly kind: 'room' }>): void {
    this.#noteCount += 1;
    const serial = scope.kind === 'all' ? LOSS.OF_CHANNEL : LOSS.DIRECT;
    this.#add({ kind: 'ordinary', channel: this.#links.allChannel, serial });
  }

  /** Redis answers (again). */
  tellSoon(): void {
    if (this.#isClosed || this.#losses.size === 0) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#tell();
    }, RETRY_MS).unref();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #add(loss: Loss): void {
    this.#losses.set(loss.serial === LOSS.OF_CHANNEL ? loss.channel : `${loss.serial} ${loss.channel}`, loss);
    this.tellSoon();
  }

  async #tell(): Promise<void> {
    if (this.#isTelling) return;
    this.#isTelling = true;
    const slice = [...this.#losses].slice(0, this.#links.isUp() ? SLICE_COUNT : 0);
    await Promise.all(
      slice.map(async ([name, loss]) => {
        // What is lost from here on is noted anew.
        this.#losses.delete(name);
        try {
          await this.#links.tell(loss.kind, loss.channel, loss.serial);
          this.#toldCount += 1;
        } catch {
          this.#losses.set(name, loss);
        }
      }),
    );
    this.#isTelling = false;
    this.tellSoon();
  }
}
