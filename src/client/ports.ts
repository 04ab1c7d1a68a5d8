/**
 * What the client needs of the world around it, and the defaults for browsers and Node. All of it can be handed in, so that
 * tests own time, chance and the network.
 */

/** Monotonic time and one-shot timers. */
export interface TimerPort {
  /** Milliseconds that only grow; the origin does not matter. */
  nowMs(): number;
  /** Runs `task` once, not before `delayMs`. @returns cancels it; harmless afterwards */
  schedule(delayMs: number, task: () => void): () => void;
}

/** A few short texts that outlive the page: the heartbeat interval of each network. May forget. */
export interface StoragePort {
  get(key: string): string | undefined;
  set(key: string, value: string): void;
}

/** The device's network. */
export interface NetworkPort {
  /** Equal as long as the device is on the same network, as far as it can be told. */
  id(): string;
  /** `changed` is called when the device is online again and when the network became another. @returns stops it */
  listen(changed: () => void): () => void;
}

/** The part of `fetch` that is used. */
export type FetchPort = (url: string, init?: FetchInit) => Promise<FetchReply>;

export interface FetchInit {
  method?: string;
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer>;
  signal?: AbortSignal;
  keepalive?: boolean;
}

export interface FetchReply {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: { getReader(): ByteReader } | null;
  json(): Promise<unknown>;
  arrayBuffer(): Promise<ArrayBuffer>;
}

export interface ByteReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
}

/** Listeners as DOM objects have them. */
interface EventSourceLike {
  addEventListener?(name: string, listener: () => void): void;
  removeEventListener?(name: string, listener: () => void): void;
}

/** What may or may not be there, by host. */
export interface HostGlobals extends EventSourceLike {
  readonly fetch?: FetchPort;
  readonly WebSocket?: unknown;
  readonly localStorage?: { getItem(key: string): string | null; setItem(key: string, value: string): void };
  readonly location?: { readonly protocol: string };
  readonly navigator?: { readonly connection?: EventSourceLike & { readonly type?: string } };
}

/** The globals of the host, whichever it is. */
export function hostGlobals(): HostGlobals {
  return globalThis as HostGlobals;
}

export const hostTimers: TimerPort = {
  nowMs: () => performance.now(),
  schedule: (delayMs, task) => {
    const timer = setTimeout(task, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Of the page or process. */
export function memoryStorage(): StoragePort {
  const texts = new Map<string, string>();
  return { get: (key) => texts.get(key), set: (key, value) => void texts.set(key, value) };
}

/** localStorage where there is one that may be used, otherwise memory. */
export function hostStorage(globals: HostGlobals = hostGlobals()): StoragePort {
  const memory = memoryStorage();
  // Reading the property alone throws where cookies are blocked, and writing where the quota is used up: memory knows it then.
  return {
    get: (key) => {
      try {
        return globals.localStorage?.getItem(key) ?? memory.get(key);
      } catch {
        return memory.get(key);
      }
    },
    set: (key, value) => {
      memory.set(key, value);
      try {
        globals.localStorage?.setItem(key, value);
      } catch {
        // Kept in memory above; a page without storage probes again when it is loaded again.
      }
    },
  };
}

/** `navigator.connection` and the event `online` where they exist; elsewhere one network that never changes. */
export function hostNetwork(globals: HostGlobals = hostGlobals()): NetworkPort {
  return {
    id: () => globals.navigator?.connection?.type ?? 'default',
    listen: (changed) => {
      const connection = globals.navigator?.connection;
      globals.addEventListener?.('online', changed);
      connection?.addEventListener?.('change', changed);
      return () => {
        globals.removeEventListener?.('online', changed);
        connection?.removeEventListener?.('change', changed);
      };
    },
  };
}
