import uWS from 'uWebSockets.js';
import { describe, expect, it } from 'vitest';
import { send } from '../../../test/kit/fallback-client.js';
import { PRIVATE_HOST, PrivateListener } from './private-listener.js';

describe('the private port of a bucket', () => {
  it('stands in shared memory while it is open, and nobody can share it', async () => {
    const ports = new Int32Array(new SharedArrayBuffer(12));
    const listener = new PrivateListener(ports, 2, (app) => {
      app.get('/here', (res) => {
        res.onAborted(() => {});
        res.end('yes');
      });
    });
    const other = uWS.App();
    try {
      await listener.listen();
      const port = ports[2] ?? 0;
      expect([ports[0], ports[1], port > 0]).toEqual([0, 0, true]);
      expect((await send(`http://${PRIVATE_HOST}:${port}/here`)).body.toString()).toBe('yes');
      expect((await send(`http://${PRIVATE_HOST}:${port}/elsewhere`)).status).toBe(404);
      // As every bucket opens the clients' port: shared, which an exclusive one refuses.
      const isShared = await new Promise((resolve) => {
        other.listen(PRIVATE_HOST, port, (socket) => resolve(socket !== false));
      });
      expect(isShared).toBe(false);
      // A bucket that accepts again asks once more.
      await listener.listen();
      expect(ports[2]).toBe(port);
    } finally {
      listener.close();
      other.close();
    }
    expect(ports[2]).toBe(0);
  });
});
