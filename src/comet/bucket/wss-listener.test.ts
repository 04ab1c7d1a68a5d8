import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type CertificateFiles, makeAuthority } from '../../../test/kit/certificates.js';
import { eventually } from '../../../test/kit/eventually.js';
import { CLOSE } from '../../errors/index.js';
import { probePort } from '../../push/index.js';
import type { TlsSet } from '../tls/index.js';
import { BucketTls } from './bucket-tls.js';
import { Channel, type ChannelOwner } from './channel.js';
import type { DoorHandlers } from './door.js';
import { Doors } from './doors.js';
import { WssListener } from './wss-listener.js';

const HOST = '127.0.0.1';
let ca: string;
let dir: string;
const certificates: CertificateFiles[] = [];
const listeners: WssListener[] = [];
const clients: WebSocket[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'halley-wss-'));
  const authority = await makeAuthority(dir);
  ca = await readFile(authority.caFile, 'utf8');
  for (const name of ['generation-1', 'generation-2', 'generation-3']) {
    certificates.push(await authority.issue(name, { names: [`IP:${HOST}`] }));
  }
  return () => rm(dir, { recursive: true });
});
afterEach(() => {
  for (const client of clients.splice(0)) client.terminate();
  for (const listener of listeners.splice(0)) listener.closeAll();
});

function setOf(generation: number): TlsSet {
  return {
    generation,
    minVersion: '1.2',
    certificates: [{ serverName: '', ...(certificates[generation - 1] as CertificateFiles) }],
  };
}

async function listen(own: Partial<DoorHandlers> = {}) {
  const events: string[] = [];
  const note = (name: string) => () => void events.push(name);
  const tls = new BucketTls(setOf(1));
  const port = await probePort(HOST, 0, 'tls.ws_port');
  const listener = new WssListener(
    { host: HOST, port, maxBackpressureBytes: 65_536, maxPayloadBytes: 1_024 },
    () => tls.set,
    {
      create: () => new Channel({} as ChannelOwner),
      open: (channel) => void channel.socket?.subscribe('room'),
      message: note('message'),
      dropped: () => {},
      ping: () => {},
      drain: () => {},
      close: note('close'),
      onError: note('error'),
      ...own,
    },
    undefined,
  );
  listeners.push(listener);
  await listener.listen();
  return { listener, port, events, tls, doors: new Doors(listener, [], tls) };
}

async function connect(port: number) {
  const socket = new WebSocket(`wss://${HOST}:${port}/sub`, { perMessageDeflate: false, ca });
  clients.push(socket);
  const client = { socket, received: [] as string[], certificate: '', closed: 0 };
  socket.on('message', (data) => void client.received.push(String(data)));
  socket.on('close', (code) => {
    client.closed = code;
  });
  socket.on('error', () => {});
  socket.on('upgrade', (response) => {
    client.certificate = String((response.socket as TLSSocket).getPeerCertificate().subject.CN);
  });
  await once(socket, 'open');
  return client;
}

describe('the WebSocket listener with TLS', () => {
  it('keeps who is connected through any number of reloads, and one publish reaches all of them', async () => {
    const { port, doors, events } = await listen();
    const all = [await connect(port)];
    for (const generation of [2, 3]) {
      await doors.reloadTls(setOf(generation));
      all.push(await connect(port));
    }
    expect(all.map(({ certificate }) => certificate)).toEqual(['generation-1', 'generation-2', 'generation-3']);
    doors.publish('room', Buffer.from('to all'));
    await eventually(() => all.every(({ received }) => received.length > 0));
    expect(all.map(({ received }) => received)).toEqual([['to all'], ['to all'], ['to all']]);
    all[0]?.socket.send('x');
    await eventually(() => events.includes('message'));
    all[1]?.socket.terminate();
    await eventually(() => events.includes('close'));
    doors.publish('room', Buffer.from('again'));
    await eventually(() => [all[0], all[2]].every((client) => client?.received.length === 2));
    doors.closeAll();
    await eventually(() => all.every(({ closed }) => closed !== 0));
  });

  it('keeps its certificates where the new ones are refused, or are the same', async () => {
    const { port, doors, tls, events } = await listen();
    const bad: TlsSet = {
      generation: 2,
      minVersion: '1.2',
      certificates: [{ ...setOf(1).certificates[0], keyFile: setOf(2).certificates[0].keyFile }],
    };
    await expect(doors.reloadTls(bad)).rejects.toMatchObject({ code: 'TLS_REFUSED' });
    expect(tls.set.generation).toBe(1);
    await doors.reloadTls(setOf(1));
    expect((await connect(port)).certificate).toBe('generation-1');
    await doors.reloadTls(setOf(3));
    await doors.reloadTls(setOf(2));
    expect((await connect(port)).certificate).toBe('generation-3');
    expect(events).toEqual([]);
  });

  it('accepts nobody after a reload that came while it accepted nobody, until it listens again', async () => {
    const { port, doors } = await listen();
    doors.stopAccepting();
    await doors.reloadTls(setOf(2));
    await expect(connect(port)).rejects.toThrow(/ECONNREFUSED/);
    await doors.listen();
    expect((await connect(port)).certificate).toBe('generation-2');
    doors.stopAccepting();
    await expect(connect(port)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('calls no handler of any generation once it is inert, and none comes to life by a reload', async () => {
    const { listener, port, doors, events } = await listen();
    const clientsOfBoth = [await connect(port)];
    await doors.reloadTls(setOf(2));
    clientsOfBoth.push(await connect(port));
    doors.makeInert();
    await doors.reloadTls(setOf(3));
    const late = await connect(port);
    for (const { socket } of [...clientsOfBoth, late]) socket.send('x');
    listener.closeAll();
    await eventually(() => [...clientsOfBoth, late].every(({ closed }) => closed !== 0));
    expect(events).toEqual([]);
    await doors.reloadTls(setOf(2));
    await expect(connect(port)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('publishes where a channel was refused or failed in its first moment without having counted it', async () => {
    let isFull = true;
    const { port, doors } = await listen({
      create: () => (isFull ? CLOSE.OVERLOADED : new Channel({} as ChannelOwner)),
    });
    const refused = await connect(port);
    await eventually(() => refused.closed === CLOSE.OVERLOADED.code);
    isFull = false;
    const taken = await connect(port);
    doors.publish('room', Buffer.from('hello'));
    await eventually(() => taken.received[0] === 'hello');
  });
});
