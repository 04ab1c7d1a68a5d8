/**
 * Where requests for sessions of another node are taken: to a port that its clients use, at an address it says of itself.
 *
 * Threads: control thread.
 */
import { isIP } from 'node:net';
import type { NodeRecord } from '../../push/index.js';
import type { NodeAddress } from './node-lookups.js';
import { nodeTagOf } from './session-token.js';

const NOWHERE: NodeAddress = { host: '', port: 0, isTls: false };

/**
 * The plain port where the node has one, else the one with TLS. Over TLS the first name among its addresses goes before the
 * address that it binds to: a certificate is for what clients dial, and seldom for an address inside.
 * Port 0: no node of this tag takes requests.
 */
export function forwardAddressOf(nodes: readonly NodeRecord[], nodeTag: string): NodeAddress {
  const node = nodes.find(({ serverId }) => nodeTagOf(serverId) === nodeTag);
  if (node === undefined) return NOWHERE;
  const { addrs, hostname, wsPort, wssPort } = node;
  const host = node.forwardHost ?? addrs[0] ?? hostname;
  if (wsPort !== 0) return { host, port: wsPort, isTls: false };
  return { host: addrs.find((addr) => isIP(addr) === 0) ?? host, port: wssPort, isTls: true };
}
