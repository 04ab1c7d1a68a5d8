import { describe, expect, it } from 'vitest';
import type { RunResult } from './measure.js';
import { parseOptions } from './options.js';
import { plot } from './plot.js';
import type { CaseResult } from './report.js';

function result(scenario: string, rows: readonly (readonly [RunResult['server'], number | undefined])[]): CaseResult {
  const benchCase = parseOptions(['--scenario', scenario, '--rate', '40', '--members', '9'])!.cases[0]!;
  const runs = rows.map(([server, figure], index): RunResult => {
    const connection = { readyCount: 9, failedCount: 0, closedCount: 0, connectMs: 1, baseRssMb: 1 };
    const costs = { connectCpuUs: figure, rssPerConnectionKb: figure, nsPerMessage: figure };
    return {
      ...connection,
      ...costs,
      server,
      run: index,
      cpu: undefined,
      delivery: undefined,
      churnDeliveredCount: 0,
      counters: undefined,
    };
  });
  return { benchCase, runs };
}

function widths(svg: string): number[] {
  return [...svg.matchAll(/<rect class="\w+" [^>]*width="([\d.]+)"/g)].map((match) => Number(match[1]));
}

describe('plot', () => {
  it('draws one bar per server, as long as its median is large, the largest first to fill the space', () => {
    const rows = [
      ['halley', 100],
      ['halley', 300],
      ['halley', 200],
      ['uws', 400],
    ] as const;
    const [halley, uws] = widths(plot([result('room', rows)]));
    expect(halley).toBeCloseTo(uws! / 2, 0);
  });

  it('says what was not measured, and draws nothing for it', () => {
    const svg = plot([result('connect', [['target', undefined]])]);
    expect(widths(svg)).toEqual([0, 0]);
    expect(svg.match(/not measured/g)).toHaveLength(2);
    expect(svg).toContain('memory per connection');
  });

  it('is one document that follows the preference for dark', () => {
    const svg = plot([result('room', [['halley', 1]]), result('connect', [['halley', 1]])]);
    expect(svg.match(/<svg /g)).toHaveLength(1);
    expect(svg.trimEnd().endsWith('</svg>')).toBe(true);
    expect(svg).toContain('prefers-color-scheme: dark');
    for (const tag of ['svg', 'style', 'text']) {
      expect(svg.split(`<${tag}`).length, tag).toBe(svg.split(`</${tag}>`).length);
    }
  });
});
