/**
 * KIM's `Client` and `Dialer` (server.go) over Halley's client, for applications that were written to them. A frame's payload is an
 * application's bytes: the body of a packet of one operation, as KIM's `MessageListener` gets it on the server.
 *
 * | KIM | here |
 * |---|---|
 * | `Connect(string) error` | `connect(address): Promise<void>`, once; another call rejects, and one that failed may be repeated |
 * | `Send([]byte) error` | `send(payload): Promise<void>`; rejects where there is no connection |
 * | `Read() (Frame, error)` | `read(): Promise<Frame>`; after the end of the connection a close frame, then a rejection |
 * | `Heartbeat` | the adaptive one of Halley's client |
 *
 * Differences that the table cannot show: the connection comes back by itself in between, and rooms go on without a hole.
 * Guarantees: frames come in the order of arrival; at most `maxFrames` wait for `read`, and above it the connection is closed, because
 * KIM's reader would stop reading, which a socket in a browser cannot.
 */
import { HalleyError } from '../errors/index.js';
import { FIRST_APPLICATION_OP } from '../protocol/index.js';
import { HalleyClient, type HalleyClientOptions } from './client.js';

/** The same numbers as WebSocket's. */
export const KIM_OP_CODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
export type KimOpCode = (typeof KIM_OP_CODE)[keyof typeof KIM_OP_CODE];

export interface Frame {
  readonly opCode: KimOpCode;
  readonly payload: Uint8Array;
}

export interface Conn {
  readFrame(): Promise<Frame>;
  writeFrame(opCode: KimOpCode, payload: Uint8Array): Promise<void>;
  /** Frames are not held back: nothing to do. */
  flush(): Promise<void>;
  close(): void;
}

export interface DialerContext {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly timeoutMs: number;
}

export interface Dialer {
  /** Connect and log in, in one step. */
  dialAndHandshake(context: DialerContext): Promise<Conn>;
}

export interface Client {
  id(): string;
  name(): string;
  connect(address: string): Promise<void>;
  setDialer(dialer: Dialer): void;
  send(payload: Uint8Array): Promise<void>;
  read(): Promise<Frame>;
  close(): void;
}

export interface KimClientOptions extends Omit<HalleyClientOptions, 'nodes' | 'key'> {
  /** Operation of the packets that carry payloads. */
  readonly op?: number;
  /** Frames that may wait for `read`. */
  readonly maxFrames?: number;
}

const DIAL_TIMEOUT_MS = 10_000;
const MAX_FRAMES_COUNT = 10_000;

/** Dials with a `HalleyClient`: the id is the device key. */
export class HalleyDialer implements Dialer {
  readonly #options: KimClientOptions;

  constructor(options: KimClientOptions = {}) {
    this.#options = options;
  }

  async dialAndHandshake({ id, name, address, timeoutMs }: DialerContext): Promise<Conn> {
    const { op = FIRST_APPLICATION_OP, maxFrames = MAX_FRAMES_COUNT, ...options } = this.#options;
    const client = new HalleyClient({
      platform: name,
      ...options,
      nodes: [address],
      key: id,
      ops: options.ops ?? [op],
    });
    const conn = new HalleyConn(client, op, maxFrames);
    const timer = setTimeout(() => client.close(), timeoutMs);
    try {
      await client.connect();
    } catch (error) {
      throw new HalleyError('DIAL_FAILED', `the handshake must be over within ${timeoutMs} ms`, { address }, error);
    } finally {
      clearTimeout(timer);
    }
    return conn;
  }
}

class HalleyConn implements Conn {
  readonly #client: HalleyClient;
  readonly #op: number;
  readonly #maxFrames: number;
  #frames: Frame[] = [];
  #readers: { resolve: (frame: Frame) => void; reject: (error: HalleyError) => void }[] = [];
  #isOver = false;

  constructor(client: HalleyClient, op: number, maxFrames: number) {
    this.#client = client;
    this.#op = op;
    this.#maxFrames = maxFrames;
    client.on('message', ({ body }) => this.#arrived({ opCode: KIM_OP_CODE.BINARY, payload: body.slice() }));
    client.on('close', ({ willReconnect }) => {
      if (!willReconnect) this.#ended();
    });
  }

  readFrame(): Promise<Frame> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#isOver) return Promise.reject(closedError());
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  async writeFrame(opCode: KimOpCode, payload: Uint8Array): Promise<void> {
    if (opCode === KIM_OP_CODE.CLOSE) this.close();
    // The heartbeat is the client's own.
    if (opCode > KIM_OP_CODE.BINARY) return;
    // A copy: a caller may fill the same buffer again.
    if (!this.#client.send(this.#op, payload.slice())) throw closedError();
  }

  async flush(): Promise<void> {}

  close(): void {
    this.#client.close();
  }

  #arrived(frame: Frame): void {
    const reader = this.#readers.shift();
    if (reader !== undefined) reader.resolve(frame);
    else if (this.#frames.length < this.#maxFrames) this.#frames.push(frame);
    else this.#client.close();
  }

  #ended(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const close: Frame = { opCode: KIM_OP_CODE.CLOSE, payload: new Uint8Array(0) };
    const [first, ...others] = this.#readers;
    this.#readers = [];
    if (first === undefined) this.#frames.push(close);
    else first.resolve(close);
    for (const { reject } of others) reject(closedError());
  }
}

export class KimClient implements Client {
  readonly #id: string;
  readonly #name: string;
  #dialer: Dialer;
  #conn: Conn | undefined;
  #isConnecting = false;

  constructor(id: string, name: string, options: KimClientOptions = {}) {
    this.#id = id;
    this.#name = name;
    this.#dialer = new HalleyDialer(options);
  }

  id(): string {
    return this.#id;
  }

  name(): string {
    return this.#name;
  }

  /** Before `connect`; without it a `HalleyDialer` with the options given. */
  setDialer(dialer: Dialer): void {
    this.#dialer = dialer;
  }

  async connect(address: string): Promise<void> {
    if (this.#isConnecting) throw new HalleyError('ALREADY_CONNECTED', 'connect must be called once');
    this.#isConnecting = true;
    try {
      const context = { id: this.#id, name: this.#name, address, timeoutMs: DIAL_TIMEOUT_MS };
      this.#conn = await this.#dialer.dialAndHandshake(context);
    } catch (error) {
      this.#isConnecting = false;
      throw error;
    }
  }

  async send(payload: Uint8Array): Promise<void> {
    await this.#connected().writeFrame(KIM_OP_CODE.BINARY, payload);
  }

  async read(): Promise<Frame> {
    return this.#connected().readFrame();
  }

  close(): void {
    this.#conn?.close();
  }

  #connected(): Conn {
    if (this.#conn === undefined) throw new HalleyError('NOT_CONNECTED', 'connect must have succeeded');
    return this.#conn;
  }
}

function closedError(): HalleyError {
  return new HalleyError('CLOSED', 'there is no open connection');
}
