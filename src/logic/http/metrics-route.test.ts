import { afterEach, describe, expect, it } from 'vitest';
import { allocateCounters, METRIC, METRICS, ThreadCounters } from '../../telemetry/index.js';
import { ApiHarness } from './fixtures/api-harness.js';

let api: ApiHarness | undefined;
afterEach(async () => {
  await api?.api.close();
});

describe('GET /metrics', () => {
  it('answers every metric per thread in the text format, with its content type', async () => {
    const memory = allocateCounters(METRICS, 3);
    new ThreadCounters(memory, 0).add(METRIC.pushes, 4);
    new ThreadCounters(memory, 2).set(METRIC.channels, 17);
    api = await new ApiHarness({ metrics: () => memory }).start();
    const { status, headers, text } = await api.get('/metrics');
    expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    const lines = text.split('\n');
    expect(lines).toContain('# TYPE halley_pushes_total counter');
    expect(lines).toContain('halley_pushes_total{thread="control"} 4');
    expect(lines).toContain('# HELP halley_channels Channels that are open and authenticated.');
    expect(lines).toContain('halley_channels{thread="bucket-2"} 17');
    expect(lines.filter((line) => line.startsWith('# TYPE '))).toHaveLength(METRICS.length + 1);
    expect(lines).toContain('halley_ready 1');
    expect(text).not.toContain('halley_not_ready');
  });

  it('says that the node is not ready and why, and answers 200 all the same', async () => {
    api = await new ApiHarness({ metrics: () => allocateCounters(METRICS, 1) }).start();
    api.reasons = [
      { reason: 'redis_away', detail: 'Redis does not answer' },
      { reason: 'bucket_down', detail: 'bucket 1 is down' },
      { reason: 'bucket_down', detail: 'bucket 2 is down' },
    ];
    const { status, text } = await api.get('/metrics');
    expect(status).toBe(200);
    const lines = text.split('\n').filter((line) => /^halley_(not_)?ready/.test(line));
    expect(lines).toEqual([
      'halley_ready 0',
      'halley_not_ready{reason="redis_away"} 1',
      'halley_not_ready{reason="bucket_down"} 2',
    ]);
  });

  it('asks for the token where one is set, and is not there where nothing is counted', async () => {
    api = await new ApiHarness({ apiToken: 'secret' }).start();
    expect((await api.get('/metrics')).status).toBe(401);
    expect((await api.request('GET', '/metrics', { headers: { Authorization: 'Bearer secret' } })).status).toBe(404);
  });
});
