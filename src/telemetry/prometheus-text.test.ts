import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocateCounters, ThreadCounters } from './counters.js';
import { indexMetrics, METRIC, METRICS } from './metrics.js';
import { metricText, prometheusText } from './prometheus-text.js';

/** What the format's own words ask of a line (Prometheus' exposition formats, "Text-based format"). */
const HELP = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/;
const TYPE = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge)$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="((?:[^"\\\n]|\\["\\n])*)"\})? (\S+)$/;

function unescaped(text: string): string {
  return text.replace(/\\([\\n"])/g, (_, one: string) => (one === 'n' ? '\n' : one));
}

interface Parsed {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly { readonly label: string | undefined; readonly value: number }[];
}

/** A reader as strict as the format: help, type, then all samples of one name; no name twice; every line ended. */
function parse(text: string): ReadonlyMap<string, Parsed> {
  expect(text.endsWith('\n')).toBe(true);
  const metrics = new Map<string, Parsed & { samples: { label: string | undefined; value: number }[] }>();
  const lines = text.slice(0, -1).split('\n');
  let current = '';
  for (let index = 0; index < lines.length; index++) {
    const help = HELP.exec(lines[index] ?? '');
    if (help !== null) {
      const type = TYPE.exec(lines[++index] ?? '');
      current = help[1] ?? '';
      expect(type?.[1]).toBe(current);
      expect(metrics.has(current)).toBe(false);
      metrics.set(current, { type: type?.[2] ?? '', help: unescaped(help[2] ?? ''), samples: [] });
      continue;
    }
    const sample = SAMPLE.exec(lines[index] ?? '');
    expect(sample?.[1], lines[index]).toBe(current);
    const value =
      sample?.[4] === '+Inf' ? Number.POSITIVE_INFINITY : sample?.[4] === '-Inf' ? -Infinity : Number(sample?.[4]);
    const label = sample?.[3];
    metrics.get(current)?.samples.push({ label: label === undefined ? undefined : unescaped(label), value });
  }
  return metrics;
}

describe('prometheusText', () => {
  it('tells every metric of the table once, with help, type and a sample per thread', () => {
    const memory = allocateCounters(METRICS, 3);
    const threads = [0, 1, 2].map((index) => new ThreadCounters(memory, index));
    threads[1]?.add(METRIC.frames_out, 2 ** 40);
    threads[2]?.set(METRIC.fanout_duty_ppm, 0.25);
    const metrics = parse(prometheusText({ memory, threadName: (thread) => `t${thread}` }));
    expect([...metrics.keys()]).toEqual(
      METRICS.map(({ name, kind }) => `halley_${name}${kind === 'counter' ? '_total' : ''}`),
    );
    for (const { samples } of metrics.values()) expect(samples.map(({ label }) => label)).toEqual(['t0', 't1', 't2']);
    expect(metrics.get('halley_frames_out_total')).toMatchObject({
      type: 'counter',
      samples: [{ value: 0 }, { value: 2 ** 40 }, { value: 0 }],
    });
    expect(metrics.get('halley_fanout_duty_ppm')).toMatchObject({
      type: 'gauge',
      help: expect.stringContaining('max() over threads'),
      samples: [{ value: 0 }, { value: 0 }, { value: 0.25 }],
    });
  });

  it('escapes what would end a line or a value, so that any text comes out as it went in', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.double({ noNaN: true }), (doc, label, value) => {
        // The format knows no other line ends than \n; what looks like one to JavaScript stays inside its line.
        const safe = (text: string) => text.replace(/[\r\u2028\u2029]/g, '');
        const text = metricText('x', 'gauge', safe(doc), [{ labels: { thread: safe(label) }, value }]);
        expect(parse(text).get('halley_x')).toEqual({
          type: 'gauge',
          help: safe(doc),
          samples: [{ label: safe(label), value: value === 0 ? 0 : value }],
        });
      }),
    );
    expect(metricText('x', 'gauge', 'd', [{ labels: {}, value: Number.NaN }])).toBe(
      '# HELP halley_x d\n# TYPE halley_x gauge\nhalley_x NaN\n',
    );
  });

  it('takes an application table of its own', () => {
    const own = [{ name: 'fish', kind: 'counter', total: 'sum', doc: 'Fish.' }] as const;
    const memory = allocateCounters(own, 1);
    new ThreadCounters(memory, 0).add(indexMetrics(own).fish, 3);
    expect(prometheusText({ memory, threadName: () => 'a"b' })).toBe(
      '# HELP halley_fish_total Fish.\n# TYPE halley_fish_total counter\nhalley_fish_total{thread="a\\"b"} 3\n',
    );
  });
});
