/**
 * The connections of one load process and what they counted.
 *
 * Threads: a process of its own, driven by load-client.main.ts.
 */
import { build as buildHistogram, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js';
import { keyOf, roomId } from '../wire/feed.js';
import { makeMessage, readNumber, readStampNs } from '../wire/message.layout.js';
import { pace } from '../wire/pacer.js';
import { makePacket, OPERATION } from '../wire/packet.js';
import type { ConnectAnswer, ConnectRequest, EchoAnswer, LoadTally } from './load-commands.js';
import { LoadConnection, type LoadConnectionLinks } from './load-connection.js';
import { OrderTally } from './order-tally.js';

const READ_BUFFER_BYTES = 262_144;
/** The kernel searches long for a free port once an address has used many (facts: 19,000 from one took 8 to 17 s). */
const CONNECTIONS_PER_ADDRESS = 2_000;
const MAX_DELAY_US = 120_000_000;
const POLL_MS = 10;
const HEARTBEAT_DEADLINE_MS = 30_000;

/** 127.1.0.1, 127.1.0.2 and so on; only Linux answers for the whole of 127/8. */
function sourceAddress(index: number): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const block = Math.floor(index / CONNECTIONS_PER_ADDRESS);
  return `127.1.${Math.floor(block / 250)}.${(block % 250) + 1}`;
}

function newHistogram(): Histogram {
  return buildHistogram({
    lowestDiscernibleValue: 1,
    highestTrackableValue: MAX_DELAY_US,
    numberOfSignificantValueDigits: 3,
  });
}

export class LoadClient implements LoadConnectionLinks {
  readonly readBuffer = new Uint8Array(READ_BUFFER_BYTES);
  #connections: LoadConnection[] = [];
  #firstIndex = 0;
  #tally = new OrderTally(0);
  #delays = newHistogram();
  #isVerifying = true;
  #readyCount = 0;
  #failedCount = 0;
  #closedCount = 0;
  #firstError: string | undefined;
  #frameCount = 0;
  #readCount = 0;
  #readBytes = 0;
  #heartbeatReplyCount = 0;
  /** Called whenever a handshake ended, one way or the other. */
  #onSettled: () => void = () => undefined;

  /** Open all connections; resolves when each is ready or has failed. */
  connect(request: ConnectRequest): Promise<ConnectAnswer> {
    const { connectionCount, inflightCount } = request;
    this.#firstIndex = request.firstIndex;
    this.#isVerifying = request.isVerifying;
    this.#tally = new OrderTally(connectionCount);
    const startedMs = performance.now();
    return new Promise((resolve) => {
      const settled = (): void => {
        const settledCount = this.#readyCount + this.#failedCount;
        while (this.#connections.length < connectionCount && this.#connections.length - settledCount < inflightCount) {
          this.#open(request);
        }
        if (settledCount < connectionCount) return;
        this.#onSettled = () => undefined;
        resolve({
          readyCount: this.#readyCount,
          failedCount: this.#failedCount,
          elapsedMs: performance.now() - startedMs,
          firstError: this.#firstError,
        });
      };
      this.#onSettled = settled;
      settled();
    });
  }

  reset(): void {
    this.#tally.reset();
    this.#delays.reset();
    this.#frameCount = 0;
    this.#readCount = 0;
    this.#readBytes = 0;
    this.#heartbeatReplyCount = 0;
  }

  tally(withDelays: boolean): LoadTally {
    const { user, system } = process.cpuUsage();
    return {
      ...this.#tally.totals(),
      frameCount: this.#frameCount,
      readCount: this.#readCount,
      readBytes: this.#readBytes,
      closedCount: this.#closedCount,
      heartbeatReplyCount: this.#heartbeatReplyCount,
      cpuMs: (user + system) / 1000,
      ...(withDelays ? { delays: encodeIntoCompressedBase64(this.#delays) } : {}),
    };
  }

  async heartbeat(spreadMs: number): Promise<void> {
    const packet = makePacket(OPERATION.HEARTBEAT, 2, new Uint8Array(0));
    const wanted = this.#heartbeatReplyCount + this.#connections.length;
    await pace({
      ratePerSec: (this.#connections.length * 1000) / spreadMs,
      messageCount: this.#connections.length,
      publish: (index) => this.#send(index, packet),
    });
    const deadlineMs = performance.now() + HEARTBEAT_DEADLINE_MS;
    while (this.#heartbeatReplyCount < wanted) {
      if (performance.now() > deadlineMs) {
        throw new Error(`heartbeats stayed unanswered: wanted=${wanted} replies=${this.#heartbeatReplyCount}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Connection i % count sends message floor(i / count); the reply carries it back. */
  async echo(ratePerSec: number, messageCount: number): Promise<EchoAnswer> {
    const connectionCount = this.#connections.length;
    const report = await pace({
      ratePerSec,
      messageCount,
      publish: (index, stampNs) => {
        const number = Math.floor(index / connectionCount);
        return this.#send(index % connectionCount, makePacket(OPERATION.SEND, number, makeMessage(number, stampNs)));
      },
    });
    return { sentCount: report.acceptedCount, maxLateMs: report.maxLateMs };
  }

  // What the connections tell.

  onReady(): void {
    this.#readyCount += 1;
    this.#onSettled();
  }

  onClosed(wasReady: boolean, reason: string): void {
    this.#firstError ??= reason;
    if (wasReady) {
      this.#closedCount += 1;
    } else {
      this.#failedCount += 1;
      this.#onSettled();
    }
  }

  onRead(readBytes: number, frameCount: number): void {
    this.#readCount += 1;
    this.#readBytes += readBytes;
    this.#frameCount += frameCount;
  }

  onMessage(connection: LoadConnection, bytes: Uint8Array, bodyStart: number): void {
    if (this.#isVerifying || connection.isSampled) this.#tally.add(connection.slot, readNumber(bytes, bodyStart));
    else this.#tally.addUnread(connection.slot);
    if (!connection.isSampled) return;
    const delayUs = (connection.readAtNs - readStampNs(bytes, bodyStart)) / 1000;
    this.#delays.recordValue(Math.min(Math.max(1, Math.round(delayUs)), MAX_DELAY_US));
  }

  onHeartbeatReply(): void {
    this.#heartbeatReplyCount += 1;
  }

  #send(slot: number, packet: Uint8Array): boolean {
    const connection = this.#connections[slot];
    if (connection?.isOpen !== true) return false;
    connection.send(packet);
    return true;
  }

  #open(request: ConnectRequest): void {
    const slot = this.#connections.length;
    const index = this.#firstIndex + slot;
    const body = {
      mid: index + 1,
      key: keyOf(index),
      ...(request.roomCount === 0 ? {} : { room_id: roomId(index % request.roomCount) }),
      platform: 'bench',
      accepts: [1000, 1001, 1002],
    };
    const target = {
      host: request.host,
      port: request.port,
      path: request.path,
      localAddress: sourceAddress(index),
      authBody: JSON.stringify(body),
    };
    this.#connections.push(new LoadConnection(slot, index % request.sampleEvery === 0, target, this));
  }
}
