/**
 * ring: how one thread tells all others something without copying it once per thread.
 *
 * A broadcast ring is a block of shared memory with one writer and up to 32 readers. The writer encodes a record once,
 * in place (`claim`, write, `commit`); every reader walks the same bytes with its own cursor (`drain`). There is no lock,
 * and no CAS on the write path. The slowest attached reader gates the writer: without room, claim() is FULL and never a
 * wait. A reader that stalls can be detached and later rejoins at the head, which drain() reports as DRAIN_DETACHED; it is
 * detached only while it holds no view of the memory, so nobody ever reads half a record.
 *
 * Who calls what: the supervisor allocates (`allocateRing`, `allocateDoorbells`), posts the memory to the threads, and
 * after a thread's death calls `resetReader`. The thread that owns a ring has its one `RingWriter`; each other thread a
 * `RingReader` at its own thread index and one `Doorbell`. After a group of commits the writer rings
 * `doorbell.ring(writer.takeUnsignalled())`; only sleepers are woken, so under load there is nothing to notify, and
 * records arrive in batches by themselves. `BufferPool` has the private buffers into which a thread merges such a batch.
 *
 * The hot path starts at `RingWriter.claim` and `RingReader.drain`. `ring.layout.ts` has the map of the memory.
 */
export { BufferPool, type BufferPoolOptions, type BufferPoolStats } from './buffer-pool.js';
export { Doorbell } from './doorbell.js';
export { allocateDoorbells } from './doorbell.layout.js';
export {
  allocateRing,
  READER_STATE,
  RECORD_HEADER_BYTES,
  type ReaderState,
  type RingGeometry,
  resetReader,
} from './ring.layout.js';
export { DRAIN_DETACHED, type RecordSink, RingReader } from './ring-reader.js';
export { RingWriter } from './ring-writer.js';
