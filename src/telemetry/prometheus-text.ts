/**
 * Counters and gauges in the text format of Prometheus (version 0.0.4): per metric `# HELP`, `# TYPE`, then one sample per thread.
 *
 * Names are those of the table behind `halley_`; a counter ends in `_total`, as the format's conventions ask. No sample is a
 * total: a sum over threads is the reader's `sum()`, and of a metric whose total is the largest it is `max()`, which the help says.
 *
 * Threads: any.
 */
import { type CounterMemory, readThread } from './counters.js';

/** What is to be told, and what each thread is called. */
export interface MetricsSource {
  readonly memory: CounterMemory;
  readonly threadName: (thread: number) => string;
}

export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const PREFIX = 'halley_';

export function prometheusText({ memory, threadName }: MetricsSource): string {
  const threads = Array.from({ length: memory.rows.threadCount }, (_, thread) => ({
    labels: { thread: threadName(thread) },
    values: readThread(memory, thread),
  }));
  return memory.metrics
    .map(({ name, kind, total, doc }) =>
      metricText(
        kind === 'counter' ? `${name}_total` : name,
        kind,
        total === 'max' ? `${doc} The node's is the max() over threads.` : doc,
        threads.map(({ labels, values }) => ({ labels, value: values[name] ?? 0 })),
      ),
    )
    .join('');
}

/** One metric with all its samples, its lines ended. @param name without the prefix */
export function metricText(
  name: string,
  kind: 'counter' | 'gauge',
  doc: string,
  samples: readonly MetricSample[],
): string {
  const full = PREFIX + name;
  const lines = [`# HELP ${full} ${escapedHelp(doc)}`, `# TYPE ${full} ${kind}`];
  for (const { labels, value } of samples) lines.push(`${full}${labelText(labels)} ${numberText(value)}`);
  return `${lines.join('\n')}\n`;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapedValue(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escapedHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function escapedValue(text: string): string {
  return escapedHelp(text).replaceAll('"', '\\"');
}

/** As Go reads it: JavaScript's own texts but for the infinities. */
function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}
