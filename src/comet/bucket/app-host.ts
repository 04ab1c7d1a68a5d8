/**
 * The application module inside one bucket: loads it, gives it a `Server`, and calls its listeners so that whatever they
 * throw costs one channel at most.
 *
 * Threads: its bucket. Application code never runs while a view of a ring is held: what happens during a drain is
 * deferred to its end (`deferred`).
 */
import { pathToFileURL } from 'node:url';
import { HalleyError, OUTCOME, type Outcome, SEND_OUTCOME } from '../../errors/index.js';
import type {
  Acceptor,
  Application,
  ChannelMap,
  Channel as ChannelPort,
  MessageListener,
  PushCommand,
  PushOutcome,
  Server,
  StateListener,
} from '../../push/index.js';
import { MemoryChannelMap } from './channel-map.js';

export interface AppHostLinks {
  readonly bucket: number;
  readonly nextId: () => string;
  /** Hand a push to the node's queue. */
  readonly publish: (command: PushCommand) => Promise<PushOutcome>;
  /** Same, without waiting for the answer. */
  readonly pushElsewhere: (key: string, op: number, body: Uint8Array) => Outcome;
  readonly requestShutdown: () => void;
  readonly onListenerError: (error: unknown, listener: string) => void;
  /** True while a ring view is held. */
  readonly isDraining: () => boolean;
}

const DOWNSTREAM_OP = 5;

export class AppHost implements Server {
  readonly #links: AppHostLinks;
  readonly #utf8 = new TextEncoder();
  #channels: ChannelMap = new MemoryChannelMap();
  #acceptor: Acceptor | undefined;
  #messageListener: MessageListener | undefined;
  #stateListener: StateListener | undefined;
  #readWaitMs = 0;
  #deferred: (() => void)[] = [];

  constructor(links: AppHostLinks) {
    this.#links = links;
  }

  /** Load the module and let it install its listeners. '' loads none. */
  async load(appPath: string): Promise<void> {
    if (appPath === '') return;
    const url = /^(file|data|node):/.test(appPath) ? appPath : pathToFileURL(appPath).href;
    let module: { app?: Application };
    try {
      module = (await import(url)) as { app?: Application };
    } catch (error) {
      // Of a thread that died only the first line of its error reaches the operator: the reason stands in it.
      const reason = error instanceof Error ? error.message : String(error);
      throw new HalleyError(
        'APP_LOAD_FAILED',
        'the application module could not be loaded',
        { app: appPath, reason },
        error,
      );
    }
    if (typeof module.app !== 'function') {
      throw new HalleyError('APP_EXPORT_MISSING', 'the application module must export a function named app(server)', {
        app: appPath,
        exports: Object.keys(module).join(','),
      });
    }
    await module.app(this);
  }

  get acceptor(): Acceptor | undefined {
    return this.#acceptor;
  }

  get messageListener(): MessageListener | undefined {
    return this.#messageListener;
  }

  /** Idle deadline that the application asked for, 0 for none. */
  get readWaitMs(): number {
    return this.#readWaitMs;
  }

  /** A channel was accepted. */
  added(channel: ChannelPort): void {
    this.#call('channel map', () => this.#channels.add(channel));
  }

  /** A channel that was added is gone: out of the map, then the state listener hears of it. */
  removed(channel: ChannelPort): void {
    const id = channel.id();
    // The map of a taken-over key may hold the new channel of this bucket by now.
    this.#call('channel map', () => {
      if (this.#channels.get(id) === channel) this.#channels.remove(id);
    });
    const listener = this.#stateListener;
    if (listener !== undefined) this.#call('state listener', () => listener.disconnect(id));
  }

  /** End of a drain: application code may run again. */
  runDeferred(): void {
    if (this.#deferred.length === 0) return;
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const fn of deferred) fn();
  }

  /** Run `fn`, which must not throw, now or, while a ring's memory is held, at the end of the drain; in order. */
  afterDrain(fn: () => void): void {
    if (this.#links.isDraining()) this.#deferred.push(fn);
    else fn();
  }

  /** Run application code, now or after the drain; a throw or rejection is counted and goes nowhere. */
  #call(listener: string, fn: () => unknown): void {
    const run = () => {
      try {
        const result = fn();
        if (result instanceof Promise) result.catch((error) => this.#links.onListenerError(error, listener));
      } catch (error) {
        this.#links.onListenerError(error, listener);
      }
    };
    this.afterDrain(run);
  }

  // Server, as the application sees it.

  setAcceptor(acceptor: Acceptor): void {
    this.#acceptor = acceptor;
  }

  setMessageListener(listener: MessageListener): void {
    this.#messageListener = listener;
  }

  setStateListener(listener: StateListener): void {
    this.#stateListener = listener;
  }

  setReadWait(readWaitMs: number): void {
    if (!Number.isFinite(readWaitMs) || readWaitMs <= 0) {
      throw new HalleyError('BAD_READ_WAIT', 'the read wait must be a positive number of milliseconds', { readWaitMs });
    }
    this.#readWaitMs = readWaitMs;
  }

  setChannelMap(channels: ChannelMap): void {
    for (const channel of this.#channels.all()) channels.add(channel);
    this.#channels = channels;
  }

  channels(): ChannelMap {
    return this.#channels;
  }

  bucket(): number {
    return this.#links.bucket;
  }

  nextId(): string {
    return this.#links.nextId();
  }

  push(channelId: string, payload: Uint8Array | string, op: number = DOWNSTREAM_OP): Outcome {
    const channel = this.#channels.get(channelId);
    if (channel !== undefined) {
      const sent = channel.push(payload, op);
      if (sent === SEND_OUTCOME.CLOSED) return OUTCOME.CLOSED;
      return sent === SEND_OUTCOME.DROPPED ? OUTCOME.FULL : OUTCOME.OK;
    }
    const body = typeof payload === 'string' ? this.#utf8.encode(payload) : payload;
    return this.#links.pushElsewhere(channelId, op, body);
  }

  publish(command: PushCommand): Promise<PushOutcome> {
    return this.#links.publish(command);
  }

  shutdown(): void {
    this.#links.requestShutdown();
  }
}
