/**
 * Where a machine id comes from when nobody leases one: the configuration, a file, or the host's private IPv4 address.
 * Taking it without a clash is MachineClaim's part.
 */
import { readFile } from 'node:fs/promises';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { HalleyError } from '../errors/index.js';
import { MACHINE_ID_COUNT, SERVICE_MACHINE_BASE } from './snowflake.layout.js';
import { SONYFLAKE_MACHINE_COUNT } from './sonyflake-memory.js';

export type MachineIdSource =
  | { readonly kind: 'configured'; readonly machineId: number }
  /** A file that holds one decimal number, put there by whoever sets the host up. */
  | { readonly kind: 'file'; readonly path: string }
  /** Sonyflake's way: the low bits of the first private address. Two hosts of one /16 differ; hosts of two networks may clash. */
  | { readonly kind: 'private-ip' };

/** The machine ids that a scheme may use: `count` of them, a power of two. */
export interface MachineIdSpan {
  readonly firstId: number;
  readonly count: number;
}

export const SONYFLAKE_MACHINES: MachineIdSpan = { firstId: 0, count: SONYFLAKE_MACHINE_COUNT };
/** Those below are the nodes': snowflake.layout.ts. */
export const SERVICE_SNOWFLAKE_MACHINES: MachineIdSpan = {
  firstId: SERVICE_MACHINE_BASE,
  count: MACHINE_ID_COUNT - SERVICE_MACHINE_BASE,
};

/**
 * @param span an address is cut to as many bits as it has, and counted from its first id
 * @throws HalleyError ID_MACHINE_RANGE, ID_MACHINE_FILE, ID_MACHINE_NO_PRIVATE_IP
 */
export async function resolveMachineId(
  source: MachineIdSource,
  span: MachineIdSpan,
  interfaces: () => NodeJS.Dict<NetworkInterfaceInfo[]> = networkInterfaces,
): Promise<number> {
  if (source.kind === 'configured') return requireMachineId(source.machineId, span);
  if (source.kind === 'file') return requireMachineId(await readNumber(source.path), span);
  return span.firstId + (privateIpv4(interfaces()) % span.count);
}

/** The address as a number below 2^32. */
function privateIpv4(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): number {
  const addresses: string[] = [];
  for (const info of Object.values(interfaces).flatMap((infos) => infos ?? [])) {
    if (info.family !== 'IPv4' || info.internal) continue;
    addresses.push(info.address);
    const [a = 0, b = 0, c = 0, d = 0] = info.address.split('.').map(Number);
    const isPrivate = a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168);
    if (isPrivate) return ((a * 256 + b) * 256 + c) * 256 + d;
  }
  throw new HalleyError(
    'ID_MACHINE_NO_PRIVATE_IP',
    'this host has no private IPv4 address (10/8, 172.16/12, 192.168/16): configure its machine id or lease one',
    { addresses: addresses.join(',') },
  );
}

async function readNumber(path: string): Promise<number> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new HalleyError('ID_MACHINE_FILE', 'the file of the machine id could not be read', { path }, error);
  }
  if (!/^\d{1,9}\s*$/.test(text)) {
    throw new HalleyError('ID_MACHINE_FILE', 'the file of the machine id holds one decimal number', {
      path,
      text: text.slice(0, 40),
    });
  }
  return Number(text);
}

/** Throws ID_MACHINE_RANGE. */
export function requireMachineId(machineId: number, { firstId, count }: MachineIdSpan): number {
  if (Number.isInteger(machineId) && machineId >= firstId && machineId < firstId + count) return machineId;
  const reason = firstId === 0 ? '' : `, those from 0 to ${firstId - 1} belong to the nodes' own ids`;
  throw new HalleyError('ID_MACHINE_RANGE', `a machine id is from ${firstId} to ${firstId + count - 1} here${reason}`, {
    machineId,
  });
}
