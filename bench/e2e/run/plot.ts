/**
 * The figures of a report as one SVG: per case two groups of bars, what it costs and how long it takes (of a case that is
 * not fed: CPU and memory of a connection), a bar per server. No dependency; light and dark by the reader's preference.
 */

import type { RunResult } from './measure.js';
import { type CaseResult, median } from './report.js';
import { caseTitle } from './scenario.js';

const WIDTH = 860;
const MARGIN = 24;
const NAME_WIDTH = 84;
const COLUMN_GAP = 36;
const VALUE_WIDTH = 64;
const BAR_HEIGHT = 14;
const ROW_HEIGHT = 20;
const TITLE_HEIGHT = 26;
const LABEL_HEIGHT = 20;
const CASE_GAP = 22;
const COLUMN_WIDTH = (WIDTH - 2 * MARGIN - COLUMN_GAP) / 2;
const BAR_SPACE = COLUMN_WIDTH - NAME_WIDTH - VALUE_WIDTH;

const STYLE = `
  svg { background: #ffffff; font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; }
  text { fill: #3d4450; }
  .head { font-size: 16px; font-weight: 600; fill: #14181f; }
  .title { font-size: 13px; font-weight: 600; fill: #14181f; }
  .label { fill: #6b7380; }
  .own { font-weight: 600; fill: #14181f; }
  .track { stroke: #d7dbe2; }
  .peer { fill: #aab3c0; }
  .halley { fill: #2f6fde; }
  @media (prefers-color-scheme: dark) {
    svg { background: #14171c; }
    text { fill: #b4bcc8; }
    .head, .title, .own { fill: #f0f3f7; }
    .label { fill: #8a93a1; }
    .track { stroke: #333a45; }
    .peer { fill: #596270; }
    .halley { fill: #6aa0ff; }
  }`;

interface Metric {
  readonly label: string;
  readonly of: (run: RunResult) => number | undefined;
}

const FED: readonly Metric[] = [
  { label: 'server CPU per delivered message, ns', of: ({ nsPerMessage }) => nsPerMessage },
  { label: 'p99 from push to client, ms', of: ({ delivery }) => delivery?.p99Ms },
];
const CONNECTED: readonly Metric[] = [
  { label: 'server CPU per connection, us', of: ({ connectCpuUs }) => connectCpuUs },
  { label: 'memory per connection, KB of RSS', of: ({ rssPerConnectionKb }) => rssPerConnectionKb },
];

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function short(value: number): string {
  if (!Number.isFinite(value)) return 'not measured';
  if (value >= 100) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** One group of bars; its left edge is x, its top y. */
function bars(metric: Metric, { runs }: CaseResult, x: number, y: number): string {
  const servers = [...new Set(runs.map(({ server }) => server))];
  const values = servers.map((server) => median(runs.filter((run) => run.server === server).map(metric.of)));
  const largest = Math.max(...values.filter(Number.isFinite), Number.MIN_VALUE);
  const barX = x + NAME_WIDTH;
  const rows = servers.map((server, index) => {
    const value = values[index]!;
    const top = y + LABEL_HEIGHT + index * ROW_HEIGHT;
    const width = Number.isFinite(value) ? Math.max(1, (Math.max(0, value) / largest) * BAR_SPACE) : 0;
    const own = server === 'halley' ? ' class="own"' : '';
    const base = top + BAR_HEIGHT - 3;
    return [
      `<text${own} x="${barX - 8}" y="${base}" text-anchor="end">${escaped(server)}</text>`,
      `<rect class="${server === 'halley' ? 'halley' : 'peer'}" x="${barX}" y="${top}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" rx="2"/>`,
      `<text${own} x="${(barX + width + 6).toFixed(1)}" y="${base}">${short(value)}</text>`,
    ].join('');
  });
  const bottom = y + LABEL_HEIGHT + servers.length * ROW_HEIGHT - (ROW_HEIGHT - BAR_HEIGHT) + 3;
  return [
    `<text class="label" x="${barX}" y="${y + 12}">${escaped(metric.label)}</text>`,
    `<line class="track" x1="${barX - 0.5}" x2="${barX - 0.5}" y1="${y + LABEL_HEIGHT - 3}" y2="${bottom}"/>`,
    ...rows,
  ].join('\n');
}

/** A whole SVG document. Lower is better in every bar; bars of one group share a scale that starts at 0. */
export function plot(results: readonly CaseResult[]): string {
  const parts: string[] = [];
  let y = MARGIN + 16;
  parts.push(`<text class="head" x="${MARGIN}" y="${y}">Halley and its peers: lower is better</text>`);
  y += CASE_GAP;
  for (const result of results) {
    const { benchCase, runs } = result;
    const serverCount = new Set(runs.map(({ server }) => server)).size;
    parts.push(`<text class="title" x="${MARGIN}" y="${y + 14}">${escaped(caseTitle(benchCase))}</text>`);
    const top = y + TITLE_HEIGHT;
    (benchCase.ratePerSec > 0 ? FED : CONNECTED).forEach((metric, column) => {
      parts.push(bars(metric, result, MARGIN + column * (COLUMN_WIDTH + COLUMN_GAP), top));
    });
    y = top + LABEL_HEIGHT + serverCount * ROW_HEIGHT + CASE_GAP;
  }
  const height = y - CASE_GAP + MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Benchmark: server CPU and delay by server and scenario">`,
    `<style>${STYLE}\n</style>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}
