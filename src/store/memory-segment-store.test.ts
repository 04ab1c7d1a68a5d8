import { MemorySegmentStore } from './memory-segment-store.js';
import { segmentStoreContract } from './segment-store.contract.js';

segmentStoreContract('memory', async () => {
  const shared = new MemorySegmentStore();
  return { open: async () => shared, remove: async () => {} };
});
