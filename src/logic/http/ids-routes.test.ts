import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openIds, SwitchedStore } from '../ids/fixtures/id-services.js';
import type { IdService } from '../ids/id-service.js';
import { ApiHarness } from './fixtures/api-harness.js';

const store = new SwitchedStore();
let ids: IdService;
let api: ApiHarness;
beforeAll(async () => {
  const tags = [
    { tag: 'order', stepCount: 100, maxId: 0 },
    { tag: 'short', stepCount: 100, maxId: 3 },
    { tag: 'away', stepCount: 20, maxId: 0 },
  ];
  ids = await openIds({ tags, maxCount: 200 }, { store });
  api = await new ApiHarness({ ids }).start();
});
afterAll(async () => {
  api.api.close();
  await ids.close();
});

describe('GET /ids', () => {
  it('answers the next ids of a tag as decimal strings', async () => {
    const answer = await api.get('/ids?biz=order&scheme=segment&count=3');
    expect(answer.text).toBe('{"code":0,"message":"","data":{"ids":["1","2","3"],"scheme":"segment","biz":"order"}}');
    expect((await api.get('/ids?biz=order')).json).toMatchObject({ data: { ids: ['4'], scheme: 'segment' } });
  });

  it('answers schemes of the clock without a tag', async () => {
    const answer = await api.get('/ids?scheme=snowflake&count=2');
    const { data } = answer.json as { data: { ids: string[] } };
    expect(BigInt(data.ids[1] ?? '')).toBeGreaterThan(BigInt(data.ids[0] ?? ''));
    expect(data.ids[0]).toMatch(/^\d{18,19}$/);
  });

  it.each([
    ['scheme=nothing', 404, -404, 'ID_SCHEME_UNKNOWN'],
    ['biz=unknown', 404, -404, 'ID_TAG_UNKNOWN'],
    ['', 400, -400, 'ID_BAD_TAG'],
    ['biz=order&count=201', 400, -400, 'ID_BAD_COUNT'],
    ['biz=order&count=0', 400, -400, 'ID_BAD_COUNT'],
    ['biz=order&count=x', 400, -400, 'ID_BAD_COUNT'],
  ])('refuses ?%s with %d', async (query, status, code, reason) => {
    const answer = await api.get(`/ids?${query}`);
    expect(answer).toMatchObject({ status, json: { code } });
    expect(answer.text).toContain(reason);
  });

  it('answers 409 where the maximum is reached, behind the last ids', async () => {
    expect((await api.get('/ids?biz=short&count=5')).json).toMatchObject({ data: { ids: ['1', '2', '3'] } });
    expect(await api.get('/ids?biz=short')).toMatchObject({ status: 409, json: { code: -409 } });
  });

  it('answers 503 with Retry-After where the store is away, behind what is buffered', async () => {
    await api.get('/ids?biz=away&count=5');
    store.isAway = true;
    expect((await api.get('/ids?biz=away&count=100')).json).toMatchObject({ data: { ids: { length: 15 } } });
    const answer = await api.get('/ids?biz=away');
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '1' }, json: { code: -503 } });
    store.isAway = false;
  });

  it('needs the token where there is one', async () => {
    const guarded = await new ApiHarness({ ids, apiToken: 'secret' }).start();
    expect(await guarded.get('/ids?biz=order')).toMatchObject({ status: 401 });
    expect(await guarded.get('/ids/decode?id=1')).toMatchObject({ status: 401 });
    expect(await guarded.get('/ids?biz=order', { authorization: 'Bearer secret' })).toMatchObject({ status: 200 });
    guarded.api.close();
  });

  it('answers 503 on a node that gives out none', async () => {
    const without = await new ApiHarness().start();
    expect(await without.get('/ids?biz=order')).toMatchObject({ status: 503 });
    without.api.close();
  });
});

describe('GET /ids/decode', () => {
  it('tells what an id holds', async () => {
    const answer = await api.get('/ids/decode?scheme=snowflake&id=382786297854619648');
    expect(answer.json).toEqual({
      code: 0,
      message: '',
      data: {
        id: '382786297854619648',
        readings: [
          {
            scheme: 'snowflake',
            timestamp_ms: 1_704_067_200_000 + Number(382786297854619648n >> 22n),
            time: new Date(1_704_067_200_000 + Number(382786297854619648n >> 22n)).toISOString(),
            machine_id: Number((382786297854619648n >> 12n) & 1023n),
            sequence: 0,
          },
        ],
      },
    });
  });

  it('refuses what no scheme reads, and a request without an id', async () => {
    expect(await api.get('/ids/decode?id=x!')).toMatchObject({ status: 400 });
    expect(await api.get('/ids/decode')).toMatchObject({ status: 400 });
  });
});
