/**
 * Draw from any generator, waiting only where it has nothing buffered.
 */
import type { IdGenerator } from './id-generator.port.js';
import { requireManyCount } from './id-value.js';

/** The next id. Rejects as `ready` does. */
export async function drawId<Id extends bigint | string>(generator: IdGenerator<Id>): Promise<Id> {
  for (;;) {
    const id = generator.tryNext();
    if (id !== undefined) return id;
    await generator.ready();
  }
}

/** The next `count` ids (1 to 100,000). Where it rejects, those drawn so far are skipped. */
export async function drawIds<Id extends bigint | string>(generator: IdGenerator<Id>, count: number): Promise<Id[]> {
  requireManyCount(count);
  const ids: Id[] = [];
  while (ids.length < count) {
    const id = generator.tryNext();
    if (id === undefined) await generator.ready();
    else ids.push(id);
  }
  return ids;
}
