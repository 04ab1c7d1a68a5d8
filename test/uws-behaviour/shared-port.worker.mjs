// Worker thread: listens on the port given, says how many connections it got, closes its app when told to.

import uWS from 'uWebSockets.js';
import { parentPort, workerData } from 'node:worker_threads';

const app = uWS.App().ws('/*', { open: () => parentPort.postMessage('open') });
app.listen('127.0.0.1', workerData, (socket) => {
  parentPort.postMessage({ port: socket === false ? 0 : uWS.us_socket_local_port(socket) });
});
parentPort.once('message', () => {
  app.close();
  process.exit(0);
});
