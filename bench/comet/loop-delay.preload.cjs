// Loaded into every thread of a node that a bench starts (NODE_OPTIONS): writes the longest and the 99th percentile of the loop's
// delay, once per 100 ms, to BENCH_LOOP_FILE as `thread maxMs p99Ms`.
const { appendFileSync } = require('node:fs');
const { monitorEventLoopDelay } = require('node:perf_hooks');
const { threadId } = require('node:worker_threads');

const file = process.env.BENCH_LOOP_FILE;
if (file !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  setInterval(() => {
    appendFileSync(file, `${threadId} ${delay.max / 1e6} ${delay.percentile(99) / 1e6}\n`);
    delay.reset();
  }, 100).unref();
}
