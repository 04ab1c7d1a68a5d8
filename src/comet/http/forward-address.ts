/**
 * Where requests for sessions of another node are taken: to the port that its clients use, at the address it says of itself.
 *
 * Threads: control thread.
 */
import type { NodeRecord } from '../../push/index.js';
import { NO_PLAIN_PORT, type NodeAddress } from './node-lookups.js';
import { nodeTagOf } from './session-token.js';

/** Undefined: no node of this tag lives. Port NO_PLAIN_PORT: it lives, and all its ports speak TLS. */
export function forwardAddressOf(nodes: readonly NodeRecord[], nodeTag: string): NodeAddress | undefined {
  const node = nodes.find(({ serverId }) => nodeTagOf(serverId) === nodeTag);
  if (node === undefined) return undefined;
  const port = node.wsPort === 0 ? NO_PLAIN_PORT : node.wsPort;
  return { host: node.forwardHost ?? node.addrs[0] ?? node.hostname, port };
}
