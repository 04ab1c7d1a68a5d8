/** Slots of a Redis Cluster, moved as `redis-cli --cluster reshard` moves them, but in steps that a test chooses. */
import { Redis } from 'ioredis';
import type { RedisServer } from './redis-server.js';

const KEYS_PER_STEP = 100;
const MIGRATE_TIMEOUT_MS = 5_000;

function clientOf({ port }: RedisServer): Redis {
  return new Redis(port, '127.0.0.1', { protocol: 2 });
}

/** The slot of a key or channel. */
export async function slotOf(server: RedisServer, name: string): Promise<number> {
  const client = clientOf(server);
  try {
    return Number(await client.call('CLUSTER', 'KEYSLOT', name));
  } finally {
    client.disconnect();
  }
}

/** Which of `servers` owns a slot now, as `servers[viewNo]` says. */
export async function ownerOf(servers: readonly RedisServer[], slot: number, viewNo = 0): Promise<RedisServer> {
  const client = clientOf(servers[viewNo] as RedisServer);
  try {
    const rows = (await client.call('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
    const port = rows.find(([first, last]) => slot >= first && slot <= last)?.[2][1];
    const owner = servers.find((server) => server.port === port);
    if (owner === undefined) throw new Error(`slot ${slot} is at port ${port}, which is none of the given servers`);
    return owner;
  } finally {
    client.disconnect();
  }
}

export class SlotMove {
  readonly slot: number;
  readonly #from: Redis;
  readonly #to: Redis;
  readonly #toPort: number;
  readonly #others: readonly Redis[];

  private constructor(slot: number, from: Redis, to: Redis, toPort: number, others: readonly Redis[]) {
    this.slot = slot;
    this.#from = from;
    this.#to = to;
    this.#toPort = toPort;
    this.#others = others;
  }

  /** From now on `from` answers ASK for keys of the slot that it does not have. @param servers all masters */
  static async begin(servers: readonly RedisServer[], slot: number, to: RedisServer): Promise<SlotMove> {
    const from = await ownerOf(servers, slot);
    if (from === to) throw new Error(`slot ${slot} is where it should go already`);
    const others = servers.filter((server) => server !== from && server !== to).map(clientOf);
    const move = new SlotMove(slot, clientOf(from), clientOf(to), to.port, others);
    await move.#to.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await move.#idOf(move.#from));
    await move.#from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await move.#idOf(move.#to));
    return move;
  }

  /** Move at most `maxCount` keys. Returns how many there were to move; 0: none is left. */
  async moveKeys(maxCount = KEYS_PER_STEP): Promise<number> {
    const keys = (await this.#from.call('CLUSTER', 'GETKEYSINSLOT', this.slot, maxCount)) as string[];
    if (keys.length === 0) return 0;
    await this.#from.call('MIGRATE', '127.0.0.1', this.#toPort, '', 0, MIGRATE_TIMEOUT_MS, 'KEYS', ...keys);
    return keys.length;
  }

  /** Move what is left, give the slot to its new owner, and end. */
  async finish(): Promise<void> {
    while ((await this.moveKeys()) > 0);
    const owner = await this.#idOf(this.#to);
    for (const client of [this.#to, this.#from, ...this.#others]) {
      await client.call('CLUSTER', 'SETSLOT', this.slot, 'NODE', owner);
    }
    for (const client of [this.#to, this.#from, ...this.#others]) client.disconnect();
  }

  async #idOf(client: Redis): Promise<string> {
    return String(await client.call('CLUSTER', 'MYID'));
  }
}
