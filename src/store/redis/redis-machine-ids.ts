/**
 * redis-machine-ids: the node's machine ids, leased in Redis, so that no two nodes of a cluster ever issue one id.
 *
 *   take: TIME (is this clock near Redis's?) -> block with floor -> wait until the clock has passed the floor -> limit
 *   renew, every third of the lease: end -> limit = end - maxSkewMs
 *   lost (frozen past the end, and somebody else has it): no ids -> take another block -> exchange the machine base -> limit
 *
 * Threads: control thread. Draws on other threads obey through the shared memory.
 * Guarantees: every id's own millisecond lies below the limit, and the next holder of the block issues none below it
 *   (the floor). Both are compared as numbers inside ids, so a frozen process, a killed one and even a wrong clock cannot make a
 *   repeat; the skew bound only keeps the times in ids true. A node that cannot renew stops by itself, says so (notReady), and
 *   goes on after a renewal, or with another block. Redis that comes back empty gives away no block for one lease.
 *   Not covered: a failover that loses acknowledged writes (asynchronous replication) and, before the next renewal, gives a block
 *   to a second node.
 * Source: lease with fencing by value (Gray and Cheriton, 1989); ours puts the fence into the id itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../../clock/index.js';
import { HalleyError } from '../../errors/index.js';
import { changeMachineBase, cityHash32, highestIssuedMs, SERVICE_MACHINE_BASE } from '../../id/index.js';
import type { NotReadyReason, ReadinessProbe } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import type { RedisLink } from './redis-link.js';
import { RedisScript } from './redis-script.js';

export interface MachineIdOptions {
  readonly link: RedisLink;
  readonly serverId: string;
  /** Incarnation of the node at the time of the call; a later one of the same server id wins. */
  readonly nodeEpoch: () => number;
  /** Of the data directory: `machineToken`, asked for before the high-water mark was opened. */
  readonly token: string;
  /** Made by allocateSnowflake; its machine base is set here. */
  readonly memory: SharedArrayBuffer;
  /** Slots of the memory, 1 to 32: more than 16 take two adjacent blocks. */
  readonly slotCount: number;
  /** The lease's half of an IssueLimit; the high-water mark has the other. */
  readonly setLimitMs: (limitMs: number) => void;
  /** The same on all nodes. */
  readonly leaseMs: number;
  /** Most ms that the clocks of this host and of Redis may differ by; less than a third of the lease. */
  readonly maxSkewMs: number;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Called before a wait at the start, with its length in ms. */
  readonly onWaiting?: (waitMs: number, why: string) => void;
}

/** Why the node's machine ids are gone. */
export interface MachineIdLoss {
  /** `taken`: another block will be taken. `superseded`: a later incarnation of this server id runs; ids stop for good. */
  readonly reason: 'taken' | 'superseded';
  /** Who has the block now; '' where nobody has and Redis forgot it. */
  readonly byServerId: string;
}

/** Machine ids of a block; a lease is for one, or for two adjacent ones. */
const BLOCK_SIZE = 16;
/** All below the machine ids of the id service: 56. */
const BLOCK_COUNT = SERVICE_MACHINE_BASE / BLOCK_SIZE;
/** How often a wait looks at the clock. */
const WAIT_STEP_MS = 20;
/** After a failed renewal the next one comes sooner: so many fit into the rest of the lease. */
const RETRIES_PER_LEASE = 20;

/**
 * Say that no lease of machine ids was ever given in this cluster, so that its first nodes need not wait for one to end. Only who
 * made the Redis, and knows that no node has been there before, can know that. Changes nothing where Redis knows of leases.
 * Rejects where Redis does not answer.
 */
export async function declareFirstLease(link: RedisLink): Promise<void> {
  await link.bounded(() => link.commands.hsetnx(link.keys.machineBlocks(), 'bornMs', 0));
}

type State = 'held' | 'away' | 'lost' | 'superseded' | 'released';

export class LeasedMachineIds implements ReadinessProbe {
  readonly #options: MachineIdOptions;
  readonly #clock: Clock;
  readonly #key: string;
  readonly #now = new RedisScript(import.meta.url, 'redis-machine-ids-now.lua');
  readonly #take = new RedisScript(import.meta.url, 'redis-machine-ids-take.lua');
  readonly #renew = new RedisScript(import.meta.url, 'redis-machine-ids-renew.lua');
  readonly #lossListeners = new Set<(loss: MachineIdLoss) => void>();
  #state: State = 'lost';
  #block = 0;
  /** Redis has said that the block is this node's, and nothing else since. */
  #hasBlock = false;
  /** Incarnation that the lease was taken under: the record in Redis says it. */
  #leaseEpoch = 0;
  /** End of the lease on Redis's clock, as far as this node knows. */
  #endMs = 0;
  #problem = 'no block is held';
  /** The log knows that renewals fail. */
  #isToldAway = false;
  #timer: NodeJS.Timeout | undefined;
  #stopUpListener: (() => void) | undefined;
  #underWay: Promise<void> | undefined;

  private constructor(options: MachineIdOptions) {
    const { slotCount, leaseMs, maxSkewMs } = options;
    if (slotCount < 1 || slotCount > 2 * BLOCK_SIZE) {
      throw new HalleyError('ID_BAD_OPTION', `a node leases from 1 to ${2 * BLOCK_SIZE} machine ids`, { slotCount });
    }
    if (maxSkewMs * 3 >= leaseMs) {
      throw new HalleyError('ID_BAD_OPTION', 'the skew bound is less than a third of the lease', {
        maxSkewMs,
        leaseMs,
      });
    }
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#key = options.link.keys.machineBlocks();
  }

  /**
   * Lease a block, wait until ids of earlier holders are past, set machine base and limit of the memory. Ids may be drawn then,
   * once the high-water mark allows it too.
   *
   * @throws HalleyError ID_CLOCK_SKEW, NO_MACHINE_BLOCK, ID_SUPERSEDED, or REDIS_AWAY
   */
  static async take(options: MachineIdOptions): Promise<LeasedMachineIds> {
    const ids = new LeasedMachineIds(options);
    try {
      for (;;) {
        const waitMs = await ids.#takeBlock();
        if (waitMs === 0) return ids;
        options.onWaiting?.(
          waitMs,
          'Redis is new or lost its data; leases of machine ids that it forgot must end first',
        );
        await sleep(waitMs);
      }
    } catch (error) {
      await ids.release();
      if (error instanceof HalleyError) throw error;
      throw new HalleyError('REDIS_AWAY', 'Redis did not lease machine ids', {}, error);
    }
  }

  /** First machine id of the node: of slot 0. It changes when another block has to be taken. */
  get machineBase(): number {
    return this.#block * BLOCK_SIZE;
  }

  /** Wall clock of Redis, in ms, at which the lease ends unless it is renewed. */
  get leaseEndMs(): number {
    return this.#endMs;
  }

  /** Renew every third of the lease, and as soon as Redis answers again. The timer holds no process open. */
  keepRenewing(): void {
    if (this.#stopUpListener !== undefined || this.#state === 'released') return;
    this.#stopUpListener = this.#options.link.onUp(() => void this.renew());
    this.#schedule();
  }

  /** Called when the block is gone; ids have stopped by then. Returns how to stop that. */
  onLost(listener: (loss: MachineIdLoss) => void): () => void {
    this.#lossListeners.add(listener);
    return () => this.#lossListeners.delete(listener);
  }

  /** One round trip: renew, or take another block if this one is lost. Calls while one is under way share it. Never rejects. */
  renew(): Promise<void> {
    this.#underWay ??= this.#attempt().finally(() => {
      this.#underWay = undefined;
      this.#schedule();
    });
    return this.#underWay;
  }

  /**
   * Stop issuing and give the block back, so that others may have it at once. Call it when the threads that draw are gone or
   * going. Never rejects: a lease that Redis could not be told of ends by itself.
   */
  async release(): Promise<void> {
    if (this.#state === 'released') return;
    this.#state = 'released';
    this.#problem = 'the node is stopping';
    clearTimeout(this.#timer);
    this.#stopUpListener?.();
    this.#options.setLimitMs(Number.NEGATIVE_INFINITY);
    await this.#underWay;
    if (!this.#hasBlock) return;
    this.#hasBlock = false;
    // A draw that passed the limit a moment ago may still store an id of this millisecond, or of the one after the highest.
    const lastLimitMs = Math.max(this.#clock.nowMs() + 1, highestIssuedMs(this.#options.memory) + 2);
    try {
      await this.#runRenewal(String(lastLimitMs));
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the lease of machine ids was not given back and ends by itself');
    }
  }

  /** ReadinessProbe. */
  notReady(): readonly NotReadyReason[] {
    const isIssuing = this.#state === 'held' || this.#state === 'away';
    const isInTime = this.#clock.nowMs() < this.#limitMs();
    if (isIssuing && isInTime) return [];
    return [{ reason: 'ids_stopped', detail: `no ids are issued: ${this.#problem}` }];
  }

  #limitMs(): number {
    return this.#endMs - this.#options.maxSkewMs;
  }

  #schedule(): void {
    if (this.#stopUpListener === undefined || this.#state === 'released' || this.#state === 'superseded') return;
    clearTimeout(this.#timer);
    const { leaseMs } = this.#options;
    this.#timer = setTimeout(
      () => void this.renew(),
      this.#state === 'held' ? leaseMs / 3 : leaseMs / RETRIES_PER_LEASE,
    );
    this.#timer.unref();
  }

  async #attempt(): Promise<void> {
    try {
      if (this.#state === 'held' || this.#state === 'away') await this.#extend();
      if (this.#state === 'lost') await this.#takeBlock();
    } catch (error) {
      if (this.#isReleased()) return;
      if (error instanceof HalleyError && error.code === 'ID_SUPERSEDED')
        this.#lose('superseded', this.#options.serverId);
      else if (this.#state === 'held') this.#state = 'away';
      this.#problem = error instanceof Error ? error.message : String(error);
      // One line per outage, not one per attempt.
      const level = this.#isToldAway ? 'debug' : 'warn';
      this.#isToldAway = true;
      this.#options.log[level]({ err: error, limitMs: this.#limitMs() }, 'the lease of machine ids was not renewed');
    }
  }

  async #extend(): Promise<void> {
    const sentMs = this.#clock.nowMs();
    const [status, nowMs, value] = await this.#runRenewal('');
    // A release that began meanwhile has the last word.
    if (this.#isReleased()) return;
    if (status !== 'OK') {
      this.#lose(status === 'SUPERSEDED' ? 'superseded' : 'taken', String(value));
      return;
    }
    const skewMs = this.#certainSkewMs(sentMs, Number(nowMs));
    if (skewMs > this.#options.maxSkewMs) {
      this.#options.log.warn(
        { skewMs, maxSkewMs: this.#options.maxSkewMs },
        "this host's clock has left that of Redis",
      );
    }
    this.#hold(Number(value));
  }

  #hold(endMs: number): void {
    this.#state = 'held';
    this.#isToldAway = false;
    this.#endMs = endMs;
    this.#problem = 'the lease of the machine ids has ended and was not renewed';
    this.#options.setLimitMs(this.#limitMs());
  }

  #lose(reason: MachineIdLoss['reason'], byServerId: string): void {
    this.#options.setLimitMs(Number.NEGATIVE_INFINITY);
    this.#hasBlock = false;
    this.#state = reason === 'taken' ? 'lost' : 'superseded';
    this.#problem =
      reason === 'taken'
        ? `the machine ids went to another node, new ones are being leased: by=${byServerId}`
        : 'a later incarnation of this server id has the machine ids: give every node its own server_id';
    this.#options.log.error({ reason, byServerId, block: this.#block }, 'the machine ids of this node are lost');
    for (const listener of this.#lossListeners) listener({ reason, byServerId });
  }

  /** 0: a block is held and ids may be drawn. Otherwise ms to wait before the next try. */
  async #takeBlock(): Promise<number> {
    const { link, serverId, slotCount, leaseMs, maxSkewMs, token } = this.#options;
    await this.#requireNearClock();
    const nodeEpoch = this.#options.nodeEpoch();
    const reply = (await this.#take.run(
      link.commands,
      [this.#key],
      [serverId, nodeEpoch, token, leaseMs, maxSkewMs, this.#widthBlocks(), this.#firstBlock(), BLOCK_COUNT],
    )) as [string, number, number, number, number];
    const [status, , value, endMs, floorMs] = reply;
    if (this.#isReleased() && status !== 'OK') return 0;
    switch (status) {
      case 'OK':
        break;
      case 'YOUNG':
        this.#problem = 'Redis lost its data; leases of machine ids that it forgot must end first';
        return value;
      case 'SUPERSEDED':
        throw new HalleyError(
          'ID_SUPERSEDED',
          'a later incarnation of this server id has leased machine ids: give every node its own server_id',
          { serverId, nodeEpoch, laterEpoch: value },
        );
      default:
        throw new HalleyError(
          'NO_MACHINE_BLOCK',
          `all ${BLOCK_COUNT} blocks of machine ids are leased: stop a node, or wait until the lease of a dead one ends`,
          { nodes: value, blocksWanted: this.#widthBlocks() },
        );
    }
    this.#block = value;
    this.#hasBlock = true;
    this.#leaseEpoch = nodeEpoch;
    this.#endMs = endMs;
    changeMachineBase(this.#options.memory, this.machineBase, floorMs);
    if (this.#isReleased()) return 0;
    await this.#waitPast(floorMs);
    if (this.#isReleased()) return 0;
    this.#hold(this.#endMs);
    this.#options.log.info({ machineBase: this.machineBase, slotCount, endMs }, 'machine ids are leased');
    return 0;
  }

  /** Until this clock has passed what the earlier holder may have issued; the lease is kept meanwhile. */
  async #waitPast(floorMs: number): Promise<void> {
    const { onWaiting, leaseMs, maxSkewMs } = this.#options;
    const waitMs = floorMs - this.#clock.nowMs();
    if (waitMs <= 0) return;
    if (waitMs > leaseMs + 2 * maxSkewMs) {
      throw new HalleyError('ID_CLOCK_SKEW', 'an earlier holder of the machine ids was far ahead of this clock', {
        waitMs,
        leaseMs,
      });
    }
    onWaiting?.(waitMs, 'ids of the earlier holder of these machine ids must be past');
    while (this.#clock.nowMs() < floorMs) {
      if (this.#isReleased()) return;
      await sleep(WAIT_STEP_MS);
    }
    const [status, , value] = await this.#runRenewal('');
    if (status !== 'OK')
      throw new HalleyError('ID_BLOCK_LOST', 'the block was lost during the wait', { by: String(value) });
    this.#endMs = Number(value);
  }

  /** A method, since the state changes across awaits. */
  #isReleased(): boolean {
    return this.#state === 'released';
  }

  async #requireNearClock(): Promise<void> {
    const { link, maxSkewMs } = this.#options;
    const sentMs = this.#clock.nowMs();
    const redisMs = Number(await this.#now.run(link.commands, [this.#key], []));
    const skewMs = this.#certainSkewMs(sentMs, redisMs);
    if (skewMs > maxSkewMs) {
      throw new HalleyError(
        'ID_CLOCK_SKEW',
        `the clocks of this host and of Redis differ by more than id.max_skew_ms: set both by NTP`,
        { skewMs, maxSkewMs, hostMs: this.#clock.nowMs(), redisMs },
      );
    }
  }

  /** By how many ms the clocks differ for certain, whenever in between Redis read its own. */
  #certainSkewMs(sentMs: number, redisMs: number): number {
    return Math.max(0, sentMs - redisMs, redisMs - this.#clock.nowMs());
  }

  async #runRenewal(lastLimitMs: string): Promise<readonly [string, number, number | string]> {
    const { link, serverId, token, leaseMs, maxSkewMs } = this.#options;
    return (await this.#renew.run(
      link.commands,
      [this.#key],
      [
        serverId,
        this.#leaseEpoch,
        token,
        leaseMs,
        maxSkewMs,
        this.#block,
        this.#widthBlocks(),
        this.#endMs,
        lastLimitMs,
      ],
    )) as [string, number, number | string];
  }

  #widthBlocks(): number {
    return this.#options.slotCount > BLOCK_SIZE ? 2 : 1;
  }

  /** Where the search begins: the same for a server id at every start. */
  #firstBlock(): number {
    const hash = cityHash32(new TextEncoder().encode(this.#options.serverId));
    return hash % BLOCK_COUNT;
  }
}
