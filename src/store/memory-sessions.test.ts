import { expect, it } from 'vitest';
import { MemorySessions } from './memory-sessions.js';
import { sessionOf, sessionStoreContract } from './sessions.contract.js';

sessionStoreContract('MemorySessions', async () => new MemorySessions());

it('counts sessions and users back to zero after churn', () => {
  const store = new MemorySessions();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 2_000; i++)
      store.put(sessionOf({ key: `k${i}`, mid: (i % 500) + 1, connId: round * 10_000 + i }));
    for (let i = 0; i < 2_000; i++) {
      store.remove(sessionOf({ key: `k${i}`, mid: (i % 500) + 1, connId: round * 10_000 + i }));
    }
    expect([store.count(), store.midCount()]).toEqual([0, 0]);
  }
});
