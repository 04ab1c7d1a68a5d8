// Child process: a worker thread with an open uWebSockets.js app and one client ends. argv[2]: "orphaned" leaves the app to
// its fate, "closed" closes it first, as the crash rule does.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

if (isMainThread) {
  const { WebSocket } = await import('ws');
  const worker = new Worker(new URL(import.meta.url), { workerData: process.argv[2] });
  const port = await new Promise((resolve) => worker.once('message', resolve));
  const client = new WebSocket(`ws://127.0.0.1:${port}/`);
  client.on('error', () => {});
  await new Promise((resolve) => client.once('open', resolve));
  worker.once('exit', () => {
    process.stdout.write('the process outlived its worker\n');
    // A turn later, in case the abort only comes then.
    setImmediate(() => process.exit(0));
  });
  worker.postMessage('end');
} else {
  const { default: uWS } = await import('uWebSockets.js');
  const app = uWS.App().ws('/*', {});
  app.listen('127.0.0.1', 0, (socket) => parentPort.postMessage(uWS.us_socket_local_port(socket)));
  parentPort.once('message', () => {
    if (workerData === 'orphaned') process.exit(0);
    setImmediate(() => {
      app.close();
      process.exit(0);
    });
  });
}
