/**
 * A whole node inside somebody's own program: what the package exports as `createServer`.
 *
 * Threads: main thread.
 */
import { stringify } from 'smol-toml';
import { type Config, loadConfig } from '../config/index.js';
import type { CometPort, PushCommand, PushOutcome } from '../push/index.js';
import { HalleyNode, type NodeAddresses } from './halley-node.js';
import { preflight } from './preflight.js';
import type { TlsReload } from './tls-part.js';

/** Any of the options of the table, nested as in TOML; the same rules, names and errors. */
export type ServerOptions = {
  readonly [Key in keyof Config]?: Config[Key] extends object
    ? Config[Key] extends readonly unknown[]
      ? Config[Key]
      : Partial<Config[Key]>
    : Config[Key];
};

/** A node in this process. */
export interface EmbeddedServer {
  /** Open every port; resolves with the addresses. Rejects with HalleyError, everything closed again. */
  start(): Promise<NodeAddresses>;
  /** Push to one device key. The payload is taken over: do not change it afterwards. */
  push(key: string, payload: Uint8Array | string, op: number): PushOutcome;
  /** Push by keys, mids, rooms or to all. */
  publish(command: PushCommand): PushOutcome;
  /** Counts, disconnects, rooms of this node. */
  comet(): CometPort;
  /** Read the files of `tls` again, as the program does on SIGHUP. */
  reloadTls(): Promise<TlsReload>;
  /** Stop gracefully, within shutdown.timeout_ms. Resolves true where nothing had to be cut off. */
  shutdown(): Promise<boolean>;
}

const OPTIONS_NAME = 'createServer options';

/**
 * Make a node; nothing is opened before start(). Environment variables and files are not read.
 * @throws HalleyError CONFIG_INVALID with every problem of the options
 */
export function createServer(options: ServerOptions = {}): EmbeddedServer {
  preflight();
  const { config } = loadConfig({
    argvFlags: { config: OPTIONS_NAME },
    env: {},
    readFile: () => stringify(options),
  });
  const node = new HalleyNode(config, {
    onShutdownRequest: () => void node.stop(),
  });
  const utf8 = new TextEncoder();
  return {
    start: () => node.start(),
    push: (key, payload, op) =>
      node.pusher.push({
        target: { kind: 'keys', keys: [key] },
        op,
        body: typeof payload === 'string' ? utf8.encode(payload) : payload,
      }),
    publish: (command) => node.pusher.push(command),
    comet: () => node.comet,
    reloadTls: () => node.reloadTls(),
    shutdown: () => node.stop(),
  };
}
