/**
 * The connections of one load process and what they counted.
 *
 * Threads: a process of its own, driven by load-client.main.ts.
 */
import { keyOf, roomId } from '../wire/feed.js';
import { makeMessage, readNumber, readStampNs } from '../wire/message.layout.js';
import { pace } from '../wire/pacer.js';
import { makeClientToken } from './client-token.js';
import { DelayHistogram } from './delay-histogram.js';
import type { Dialect } from './dialect.port.js';
import { goimDialect } from './goim-dialect.js';
import type { ConnectAnswer, ConnectRequest, EchoAnswer, LoadTally } from './load-commands.js';
import { LoadConnection, type LoadConnectionLinks } from './load-connection.js';
import { OrderTally } from './order-tally.js';
import { socketioDialect } from './socketio-dialect.js';

const READ_BUFFER_BYTES = 262_144;
/** The kernel searches long for a free port once an address has used many (facts: 19,000 from one took 8 to 17 s). */
const CONNECTIONS_PER_ADDRESS = 2_000;
const POLL_MS = 10;
const REPLY_DEADLINE_MS = 30_000;

/** 127.1.0.1, 127.1.0.2 and so on towards a loopback server; only Linux answers for the whole of 127/8. */
function sourceAddress(host: string, index: number): string | undefined {
  if (process.platform !== 'linux' || !host.startsWith('127.')) return undefined;
  const block = Math.floor(index / CONNECTIONS_PER_ADDRESS);
  return `127.1.${Math.floor(block / 250)}.${(block % 250) + 1}`;
}

export class LoadClient implements LoadConnectionLinks {
  readonly readBuffer = new Uint8Array(READ_BUFFER_BYTES);
  #connections: LoadConnection[] = [];
  #firstIndex = 0;
  #tally = new OrderTally(0);
  readonly #delays = new DelayHistogram();
  #dialect: Dialect = goimDialect();
  #isVerifying = true;
  #readyCount = 0;
  #failedCount = 0;
  #closedCount = 0;
  #firstError: string | undefined;
  #frameCount = 0;
  #readCount = 0;
  #readBytes = 0;
  #heartbeatReplyCount = 0;
  #roomChangeCount = 0;
  /** Called whenever a handshake ended, one way or the other. */
  #onSettled: () => void = () => undefined;

  /** Open all connections; resolves when each is ready or has failed. */
  connect(request: ConnectRequest): Promise<ConnectAnswer> {
    const { connectionCount, inflightCount } = request;
    this.#firstIndex = request.firstIndex;
    this.#isVerifying = request.isVerifying;
    if (request.dialect === 'socketio') this.#dialect = socketioDialect();
    if (request.dialect === 'goim-tcp') this.#dialect = goimDialect(true);
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
    this.#roomChangeCount = 0;
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
      ...(withDelays ? { delays: this.#delays.counts() } : {}),
    };
  }

  async heartbeat(spreadMs: number): Promise<void> {
    const frame = this.#dialect.heartbeat();
    const wanted = this.#heartbeatReplyCount + this.#connections.length;
    await pace({
      ratePerSec: (this.#connections.length * 1000) / spreadMs,
      messageCount: this.#connections.length,
      publish: (index) => this.#send(index, frame),
    });
    await this.#replied('heartbeats', wanted, () => this.#heartbeatReplyCount);
  }

  /** Connection i % count sends message floor(i / count); the reply carries it back. */
  async echo(ratePerSec: number, messageCount: number): Promise<EchoAnswer> {
    const connectionCount = this.#connections.length;
    const report = await pace({
      ratePerSec,
      messageCount,
      publish: (index, stampNs) => {
        const number = Math.floor(index / connectionCount);
        return this.#send(index % connectionCount, this.#dialect.echo(number, makeMessage(number, stampNs)));
      },
    });
    return { sentCount: report.acceptedCount, maxLateMs: report.maxLateMs };
  }

  /** Connection i % count joins a room, a later time round it leaves, and so on, each time another room. */
  async churn(ratePerSec: number, changeCount: number, roomCount: number): Promise<void> {
    const connectionCount = this.#connections.length;
    const wanted = this.#roomChangeCount + changeCount;
    await pace({
      ratePerSec,
      messageCount: changeCount,
      publish: (index) => {
        const isJoin = Math.floor(index / connectionCount) % 2 === 0;
        return this.#send(index % connectionCount, this.#dialect.changeRoom(isJoin ? roomId(index % roomCount) : ''));
      },
    });
    await this.#replied('room changes', wanted, () => this.#roomChangeCount);
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
    this.#delays.record(delayUs);
  }

  onHeartbeatReply(): void {
    this.#heartbeatReplyCount += 1;
  }

  onRoomChanged(): void {
    this.#roomChangeCount += 1;
  }

  async #replied(what: string, wantedCount: number, replyCount: () => number): Promise<void> {
    const deadlineMs = performance.now() + REPLY_DEADLINE_MS;
    while (replyCount() < wantedCount) {
      if (performance.now() > deadlineMs) {
        throw new Error(`${what} stayed unanswered: wanted=${wantedCount} replies=${replyCount()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  #send(slot: number, frame: Uint8Array): boolean {
    const connection = this.#connections[slot];
    if (connection?.isOpen !== true) return false;
    connection.sendFrame(frame);
    return true;
  }

  #open(request: ConnectRequest): void {
    const slot = this.#connections.length;
    const index = this.#firstIndex + slot;
    const room = request.room ?? (request.roomCount === 0 ? undefined : roomId(index % request.roomCount));
    const mid = request.firstMid + index;
    const key = keyOf(index);
    const body = {
      mid,
      key,
      ...(request.jwtSecret === '' ? {} : { token: makeClientToken(request.jwtSecret, mid, key) }),
      ...(room === undefined ? {} : { room_id: room }),
      platform: 'bench',
      accepts: [1000, 1001, 1002],
    };
    const target = {
      host: request.host,
      port: request.port,
      path: request.path,
      localAddress: sourceAddress(request.host, index),
      authBody: JSON.stringify(body),
      dialect: this.#dialect,
    };
    this.#connections.push(new LoadConnection(slot, index % request.sampleEvery === 0, target, this));
  }
}
