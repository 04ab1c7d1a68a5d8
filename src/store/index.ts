/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`) or in files. In Redis for the whole cluster: `redis/`, a
 * room with a door of its own, so that a lone node and its buckets load no Redis client.
 */

export { FileSegmentStore, type FileSegmentStoreOptions } from './file-segment-store.js';
export { type HistoryLog, historyEntry } from './history-log.js';
export { LazySegmentStore } from './lazy-segment-store.js';
export { MemoryHistory, type MemoryHistoryOptions } from './memory-history.js';
export { MemorySegmentStore } from './memory-segment-store.js';
export { MemorySessions } from './memory-sessions.js';
