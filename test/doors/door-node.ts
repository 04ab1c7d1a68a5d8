/** The node of the door tests: every door open, certificates of its own, two buckets, rooms with history, an application. */
import { fileURLToPath } from 'node:url';
import {
  type Door,
  DoorClient,
  type DoorEnd,
  type DoorNode,
  type HalleyProcess,
  makeTlsDirectory,
  post,
  startHalley,
  tlsEnv,
} from '../kit/index.js';

/** Operations of echo-app.mjs. */
export const APP_OP = { BUCKET: 2000, CRASH: 2003, ECHO: 2100, PUSH_BACK: 2101, ECHO_LATER: 2102 } as const;
/** What APP_OP.PUSH_BACK comes back as. */
export const PUSHED_BACK_OP = 1100;
export const PUSH_OP = 1000;

/** goim's clients, and those with Halley's extensions. */
export const FORMS = ['plain', 'extended'] as const;
export type Form = (typeof FORMS)[number];

const APP = fileURLToPath(new URL('./echo-app.mjs', import.meta.url));

export interface TestNode extends DoorNode {
  readonly halley: HalleyProcess;
  readonly httpUrl: string;
  /** Stop it; returns its exit code. */
  stop(): Promise<number | string>;
}

export async function startDoorNode(env: Readonly<Record<string, string>> = {}): Promise<TestNode> {
  const tls = await makeTlsDirectory();
  const halley = await startHalley({
    args: ['--app', APP],
    env: {
      ...tlsEnv(tls.own),
      HALLEY_HISTORY_ROOMS: 'kept:400:600,few:5:600',
      HALLEY_LOG_LEVEL: 'warn',
      ...env,
    },
  });
  const { wsUrl, wssUrl, tcpPort, tcpTlsPort, httpUrl } = halley;
  const stop = async () => {
    const code = await halley.stop();
    await tls.remove();
    return code;
  };
  return { wsUrl, wssUrl, tcpPort, tcpTlsPort, ca: tls.ca, halley, httpUrl, stop };
}

let keyCount = 0;

/** A name that no other test of this file uses. */
export function fresh(prefix: string): string {
  keyCount += 1;
  return `${prefix}-${keyCount}`;
}

/** Authenticated, with a key of its own unless one is given. */
export function join(node: TestNode, door: Door, form: Form, auth: object = {}): Promise<DoorClient> {
  const extension = form === 'extended' ? { halley: 1 } : {};
  return DoorClient.connect(door, node, { mid: 1, key: fresh('device'), ...extension, ...auth });
}

/** What a backend sends to push/batch. */
export type Command = { readonly op: number; readonly body: string } & (
  | { readonly room: string }
  | { readonly keys: readonly string[] }
  | { readonly mids: readonly number[] }
  | { readonly all: true }
);

/** Several commands with one call, in this order. */
export async function pushBatch(node: TestNode, commands: readonly Command[]): Promise<void> {
  const answer = await post(`${node.httpUrl}/halley/push/batch`, commands);
  if (answer.code !== 0) throw new Error(`push refused: ${answer.status} ${answer.message}`);
}

/** By goim's own route. `target`: `keys=a&keys=b`, `mids=1`, `type=live&room=1`, or '' for all. */
export async function push(
  node: TestNode,
  kind: 'keys' | 'mids' | 'room' | 'all',
  target: string,
  body: string | Uint8Array,
  op: number = PUSH_OP,
): Promise<void> {
  const answer = await post(`${node.httpUrl}/goim/push/${kind}?operation=${op}&${target}`, body);
  if (answer.code !== 0) throw new Error(`push refused: ${answer.status} ${answer.message}`);
}

export function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

/** Of advice that comes with an end, what this client hears: goim clients on a socket get no more than a code. */
export function whereTold(client: DoorClient, advice: Partial<DoorEnd>): Partial<DoorEnd> {
  return client.isExtended || client.door.isHttp ? advice : {};
}
