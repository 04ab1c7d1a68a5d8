/**
 * Where requests for sessions of another node are taken: to the port that its clients use, at the address it says of itself.
 *
 * Threads: control thread.
 */
import type { NodeRecord } from '../../push/index.js';
import type { NodeAddress } from './node-lookups.js';
import { nodeTagOf } from './session-token.js';

/** Undefined: no node of this tag lives, or it takes no plain requests. */
export function forwardAddressOf(nodes: readonly NodeRecord[], nodeTag: string): NodeAddress | undefined {
  const node = nodes.find(({ serverId }) => nodeTagOf(serverId) === nodeTag);
  if (node === undefined || node.wsPort === 0) return undefined;
  return { host: node.forwardHost ?? node.addrs[0] ?? node.hostname, port: node.wsPort };
}
