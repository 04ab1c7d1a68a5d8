/**
 * store: adapters of the storage ports. `memory-*` keep things in this process; every adapter of a port passes the
 * port's contract suite (`*.contract.ts`).
 */
export { MemorySessions } from './memory-sessions.js';
