/**
 * telemetry: what a node tells about itself. Three things, each without a lock and without a message between threads.
 *
 * Counters and gauges (`metrics.ts` is their one table, `counters.ts` the code): a row of shared memory per thread, written
 * by that thread only, read by anyone. Histograms (`histogram.ts`): the same ground, log-linear buckets. Both are allocated
 * by the control thread and handed to the buckets as plain data; the hot path is `ThreadCounters.add` and
 * `ThreadHistogram.record`. Names for the outside (`/metrics`, `/ready`) are made by `logic/` from METRICS.
 *
 * The log port (`log.port.ts`): rooms take a `Logger` as an argument, never pino. Put `stormGuard` in front where something
 * can fail once per connection. Anyone may import this folder; below it is `errors/` only.
 */
export {
  allocateCounters,
  type CounterMemory,
  clearGauges,
  readThread,
  readTotals,
  ThreadCounters,
} from './counters.js';
export {
  allocateHistogram,
  type HistogramMemory,
  HistogramReading,
  readHistogram,
  ThreadHistogram,
} from './histogram.js';
export { LOG_LEVELS, type LogFields, type Logger, type LogLevel, type LogMethod, loggerOf } from './log.port.js';
export { type LogRecord, type MemoryLog, memoryLog } from './memory-logger.js';
export { indexMetrics, METRIC, METRICS, type Metric, type MetricName, type MetricRow } from './metrics.js';
export { type PinoLoggerOptions, pinoLogger } from './pino-logger.js';
export { type MetricSample, metricText, PROMETHEUS_TYPE, prometheusText } from './prometheus-text.js';
export { type StormGuard, type StormGuardOptions, stormGuard } from './storm-guard.js';
