import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../test/kit/index.js';
import { openIds, SwitchedStore } from './fixtures/id-services.js';
import { type IdGrpcOptions, IdGrpcServer, loadIdsDefinition } from './grpc-server.js';
import type { IdServiceOptions } from './id-service.js';

const HOST = '127.0.0.1';
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Batch {
  readonly ids: readonly string[];
}

async function start(options: Partial<IdServiceOptions> = {}, grpcOptions: Partial<IdGrpcOptions> = {}) {
  const store = new SwitchedStore();
  const service = await openIds(options, { store });
  const defects: unknown[] = [];
  const onDefect = (error: unknown) => defects.push(error);
  const { server, port } = await IdGrpcServer.listen(service, HOST, 0, { token: undefined, onDefect, ...grpcOptions });
  const Client = grpc.makeGenericClientConstructor(await loadIdsDefinition(), 'Ids');
  const client = new Client(`${HOST}:${port}`, grpc.credentials.createInsecure());
  closers.push(
    () => service.close(),
    () => server.close(1_000),
    () => client.close(),
  );
  const call = <Reply>(method: 'Next' | 'Decode', request: object, metadata = new grpc.Metadata()): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const invoke = client[method] as unknown as (
        message: object,
        metadata: grpc.Metadata,
        callback: (error: grpc.ServiceError | null, reply: Reply) => void,
      ) => void;
      invoke.call(client, request, metadata, (error, reply) => (error === null ? resolve(reply) : reject(error)));
    });
  const stream = (request: object, metadata = new grpc.Metadata()): grpc.ClientReadableStream<Batch> =>
    (
      client['Stream'] as unknown as (message: object, metadata: grpc.Metadata) => grpc.ClientReadableStream<Batch>
    ).call(client, request, metadata);
  return { store, service, server, port, call, stream, defects };
}

describe('the gRPC service', () => {
  it('gives ids and takes them apart', async () => {
    const { call } = await start();
    expect(await call('Next', { scheme: 'segment', biz: 'order', count: 3 })).toMatchObject({
      scheme: 'segment',
      biz: 'order',
      ids: ['1', '2', '3'],
    });
    expect(await call('Next', { biz: 'order' })).toMatchObject({ ids: ['4'] });
    const { ids } = await call<Batch>('Next', { scheme: 'sonyflake' });
    const { readings } = await call<{ readings: Record<string, unknown>[] }>('Decode', {
      id: ids[0],
      scheme: 'sonyflake',
    });
    expect(readings[0]).toMatchObject({ scheme: 'sonyflake', sequence: '0' });
    expect(Math.abs(Number(readings[0]?.['timestamp_ms']) - Date.now())).toBeLessThan(5_000);
    expect(readings[0]).not.toHaveProperty('value');
  });

  it.each([
    [{ biz: 'order', count: 99_999 }, 'INVALID_ARGUMENT', 'ID_BAD_COUNT'],
    [{ biz: 'no tag!' }, 'INVALID_ARGUMENT', 'ID_BAD_TAG'],
    [{ biz: 'other' }, 'NOT_FOUND', 'ID_TAG_UNKNOWN'],
    [{ scheme: 'nothing' }, 'NOT_FOUND', 'ID_SCHEME_UNKNOWN'],
  ] as const)('answers %j with %s', async (request, status, reason) => {
    const { call, defects } = await start({ tags: [{ tag: 'order', stepCount: 10, maxId: 0 }] });
    const error = await call('Next', request).catch((caught: grpc.ServiceError) => caught);
    expect(error).toMatchObject({ code: grpc.status[status] });
    expect((error as grpc.ServiceError).metadata.get('halley-code')).toEqual([reason]);
    expect(defects).toEqual([]);
  });

  it('answers RESOURCE_EXHAUSTED at the maximum and UNAVAILABLE without the store', async () => {
    const { call, store } = await start({ tags: [{ tag: 'order', stepCount: 10, maxId: 5 }] });
    await call('Next', { biz: 'order', count: 5 });
    await expect(call('Next', { biz: 'order' })).rejects.toMatchObject({ code: grpc.status.RESOURCE_EXHAUSTED });
    store.isAway = true;
    await expect(call('Next', { scheme: 'rule', biz: 'order' })).rejects.toMatchObject({
      code: grpc.status.UNAVAILABLE,
    });
  });

  it('answers no call without the token, where there is one', async () => {
    const { call, stream } = await start({}, { token: 'secret' });
    const wrong = new grpc.Metadata();
    wrong.set('authorization', 'Bearer guess');
    const right = new grpc.Metadata();
    right.set('authorization', 'Bearer secret');
    const refused = { code: grpc.status.UNAUTHENTICATED };
    await expect(call('Next', { biz: 'order' })).rejects.toMatchObject(refused);
    await expect(call('Next', { biz: 'order' }, wrong)).rejects.toMatchObject(refused);
    await expect(call('Decode', { id: '1' })).rejects.toMatchObject(refused);
    const streamError = new Promise((resolve) => stream({ biz: 'order' }).once('error', resolve).resume());
    expect(await streamError).toMatchObject(refused);
    expect(await call('Next', { biz: 'order' }, right)).toMatchObject({ ids: ['1'] });
  });

  it('streams batches to the total, in order', async () => {
    const { stream } = await start();
    const ids: string[] = [];
    for await (const batch of stream({ biz: 'order', batch_count: 300, total_count: 1_000 })) ids.push(...batch.ids);
    expect(ids).toEqual(Array.from({ length: 1_000 }, (_, index) => String(index + 1)));
  });

  it('draws no faster than the client reads, and no more once it has gone', async () => {
    const { stream, call } = await start();
    const endless = stream({ biz: 'order', batch_count: 10_000 });
    endless.on('error', () => {});
    await new Promise((resolve) => endless.once('readable', resolve));
    const drawn = async () => Number((await call<Batch>('Next', { biz: 'order' })).ids[0]);
    // The windows of HTTP/2 and of the client fill; then the server waits: ten calls in a row get neighbours.
    const settled = await eventually(async () => {
      const first = await drawn();
      let last = first;
      for (let call = 1; call < 10; call++) last = await drawn();
      return last === first + 9 ? last : undefined;
    });
    expect(settled).toBeLessThan(2_000_000);
    endless.cancel();
    expect(await eventually(async () => (await drawn()) === (await drawn()) - 1)).toBe(true);
  });

  it('cuts off a stream whose client does not read', async () => {
    const { stream, server } = await start({}, { stallMs: 50 });
    const stalled = stream({ biz: 'order', batch_count: 10_000 });
    const ended = new Promise<grpc.StatusObject>((resolve) => stalled.once('status', resolve));
    stalled.on('error', () => {});
    await eventually(() => server.stalledCount === 1);
    stalled.resume();
    expect(await ended).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
  });

  it('closes gracefully: streams end with UNAVAILABLE behind a whole batch, later calls are refused', async () => {
    const { stream, server, call } = await start();
    const endless = stream({ biz: 'order', batch_count: 10 });
    let lastCount = 0;
    endless.on('data', ({ ids }: Batch) => {
      lastCount = ids.length;
    });
    const failure = new Promise((resolve) => endless.once('error', resolve));
    await eventually(() => lastCount > 0);
    expect(await server.close(2_000)).toBe(true);
    expect(await failure).toMatchObject({ code: grpc.status.UNAVAILABLE });
    expect(lastCount).toBe(10);
    await expect(call('Next', { biz: 'order' })).rejects.toMatchObject({ code: grpc.status.UNAVAILABLE });
  });

  it('refuses to start on a port that is taken', async () => {
    const { port, service } = await start();
    await expect(
      IdGrpcServer.listen(service, HOST, port, { token: undefined, onDefect: () => {} }),
    ).rejects.toMatchObject({ code: 'GRPC_PORT_UNUSABLE' });
  });
});
