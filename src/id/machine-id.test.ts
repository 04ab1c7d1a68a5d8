import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { NetworkInterfaceInfo } from 'node:os';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveMachineId, SERVICE_SNOWFLAKE_MACHINES, SONYFLAKE_MACHINES } from './machine-id.js';

function hostWith(...addresses: string[]): () => NodeJS.Dict<NetworkInterfaceInfo[]> {
  const infos = addresses.map((address): NetworkInterfaceInfo => {
    const common = { address, netmask: '', mac: '', cidr: null, internal: address.startsWith('127.') };
    return address.includes(':') ? { ...common, family: 'IPv6', scopeid: 0 } : { ...common, family: 'IPv4' };
  });
  return () => ({ all: infos });
}

test.each([
  ['10.1.2.3', 2 * 256 + 3],
  ['172.16.255.255', 65_535],
  ['172.31.0.1', 1],
  ['192.168.40.7', 40 * 256 + 7],
])('the private address %s gives its lower 16 bits', async (address, machineId) => {
  const host = hostWith('127.0.0.1', 'fe80::1', '8.8.8.8', '172.32.0.9', '192.169.0.9', address);
  expect(await resolveMachineId({ kind: 'private-ip' }, SONYFLAKE_MACHINES, host)).toBe(machineId);
  expect(await resolveMachineId({ kind: 'private-ip' }, SERVICE_SNOWFLAKE_MACHINES, host)).toBe(
    896 + (machineId % 128),
  );
});

test('a host without a private address is refused with the addresses it has', async () => {
  await expect(
    resolveMachineId({ kind: 'private-ip' }, SONYFLAKE_MACHINES, hostWith('8.8.8.8', '127.0.0.1')),
  ).rejects.toThrow(/no private IPv4 address.*addresses="8\.8\.8\.8"/);
});

test('a file gives its number, and is refused where it holds none or too great a one', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'halley-machine-'));
  try {
    const path = join(directory, 'machine-id');
    const source = { kind: 'file', path } as const;
    await expect(resolveMachineId(source, SONYFLAKE_MACHINES)).rejects.toMatchObject({ code: 'ID_MACHINE_FILE' });
    await writeFile(path, '4711\n');
    expect(await resolveMachineId(source, SONYFLAKE_MACHINES)).toBe(4711);
    await expect(resolveMachineId(source, SERVICE_SNOWFLAKE_MACHINES)).rejects.toMatchObject({
      code: 'ID_MACHINE_RANGE',
    });
    for (const text of ['', '-1', '1 2', '0x10', '7abc']) {
      await writeFile(path, text);
      await expect(resolveMachineId(source, SONYFLAKE_MACHINES)).rejects.toMatchObject({ code: 'ID_MACHINE_FILE' });
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test('a configured machine id is one of the scheme\u2019s', async () => {
  expect(await resolveMachineId({ kind: 'configured', machineId: 0 }, SONYFLAKE_MACHINES)).toBe(0);
  for (const machineId of [-1, 65_536, 1.5, Number.NaN]) {
    await expect(resolveMachineId({ kind: 'configured', machineId }, SONYFLAKE_MACHINES)).rejects.toMatchObject({
      code: 'ID_MACHINE_RANGE',
    });
  }
});

test('snowflakes of the id service have machine ids that no node has, and the others are refused with the reason', async () => {
  const of = (machineId: number) => resolveMachineId({ kind: 'configured', machineId }, SERVICE_SNOWFLAKE_MACHINES);
  expect([await of(896), await of(1_023)]).toEqual([896, 1_023]);
  await expect(of(1_024)).rejects.toMatchObject({ code: 'ID_MACHINE_RANGE' });
  await expect(of(895)).rejects.toThrow(
    /from 896 to 1023 here, those from 0 to 895 belong to the nodes.*machineId=895/,
  );
});
