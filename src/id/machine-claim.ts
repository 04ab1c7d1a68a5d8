/**
 * A claim on a machine id, kept in a record that all who might use it see: the leased machine ids of a cluster, and the proof
 * that a configured one, one from a file or one from an IP address is nobody else's.
 *
 * The record holds the claim's end in id time: its owner's generator issues no id of that time or later, and whoever comes next
 * issues none before it. So ids stay unique whatever the hosts' clocks say, over restarts, kills, frozen processes and clocks
 * that were stepped back. Clocks only decide how soon a dead owner's id is free.
 *
 * Threads: the control thread; the generator obeys through its gate.
 * Guarantees: a failed renewal leaves the ids below the last end valid, then the generator refuses; a renewal that finds another
 *   owner stops it at once (ID_MACHINE_CLASH). An owner that died without `close` is waited for one of its leases, in monotonic
 *   time. Where the database may have lost the record of a living owner (mayForget), who finds none claims it and waits a lease
 *   and a second before it issues: by then the old owner has found the new one, or reached its end.
 * Source: Percolator's timestamp oracle, as HighWaterMark; here with a compare-and-set, so that owners exclude each other.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../clock/index.js';
import { HalleyError } from '../errors/index.js';
import { COUNTED_ID_END } from './id-value.js';
import type { IssueGate } from './issue-gate.js';
import { type MachineIdSpan, requireMachineId } from './machine-id.js';
import { Renewal } from './renewal.js';
import type { SegmentRecord, SegmentStore } from './segment-store.port.js';

export interface MachineClaimOptions {
  readonly store: SegmentStore;
  /** Machine ids of one scheme are apart from those of another. */
  readonly scheme: 'sonyflake' | 'snowflake';
  /** The machine id to claim, or 'any' to lease a free one. */
  readonly machineId: number | 'any';
  /** Those that may be claimed. */
  readonly machines: MachineIdSpan;
  /** How far ahead of the clock a renewal sets the end, in ms; renewed every third of it. Default 5,000. */
  readonly leaseMs?: number;
  readonly clock?: Clock;
}

interface Claim {
  readonly owner: string;
  readonly leaseMs: number;
}

/** By how much the clocks of two hosts may differ before a lost record could let their ids meet. */
const SKEW_MS = 1_000;
const WATCH_STEP_MS = 20;
/** Machine ids that are looked at before 'any' gives up. */
const MAX_CANDIDATES = 256;

export class MachineClaim {
  readonly machineId: number;
  readonly #store: SegmentStore;
  readonly #tag: string;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #owner: string;
  #version: number;
  #endMs: number;
  readonly #floorMs: number;
  #gate: IssueGate | undefined;
  readonly #renewal = new Renewal(
    () => this.#renew(),
    () => new HalleyError('ID_MACHINE_CLOSED', 'the claim on the machine id is closed'),
  );

  private constructor(
    options: MachineClaimOptions,
    taken: { machineId: number; owner: string; version: number; floorMs: number; endMs: number },
  ) {
    this.machineId = taken.machineId;
    this.#store = options.store;
    this.#tag = tagOf(options.scheme, taken.machineId);
    this.#clock = options.clock ?? systemClock;
    this.#leaseMs = leaseMsOf(options);
    this.#owner = taken.owner;
    this.#version = taken.version;
    this.#floorMs = taken.floorMs;
    this.#endMs = taken.endMs;
  }

  /**
   * Claim the machine id. Waits at most one lease of an owner that may have died, or a lease and a second (mayForget).
   *
   * @throws HalleyError ID_MACHINE_CLASH: somebody living owns it; ID_MACHINE_NONE_FREE; what the store throws
   */
  static async open(options: MachineClaimOptions): Promise<MachineClaim> {
    const { machineId, machines } = options;
    if (machineId !== 'any') {
      requireMachineId(machineId, machines);
      const claim = await tryClaim(options, machineId, true);
      if (claim === undefined) throw clash(machineId, await options.store.read(tagOf(options.scheme, machineId)));
      return new MachineClaim(options, claim);
    }
    const start = randomInt(machines.count);
    const candidateCount = Math.min(MAX_CANDIDATES, machines.count);
    for (let step = 0; step < candidateCount; step++) {
      const claim = await tryClaim(options, machines.firstId + ((start + step) % machines.count), false);
      if (claim !== undefined) return new MachineClaim(options, claim);
    }
    throw new HalleyError('ID_MACHINE_NONE_FREE', 'every machine id that was looked at is owned', { candidateCount });
  }

  /** The end of the claim, in id time. */
  get endMs(): number {
    return this.#endMs;
  }

  /** Let the generator behind `gate` issue, up to the end of the claim. Once per claim. */
  attach(gate: IssueGate): void {
    if (this.#gate !== undefined) {
      throw new HalleyError('ID_MACHINE_CLASH', 'one machine id feeds one generator', { machineId: this.machineId });
    }
    gate.raiseFloorMs(this.#floorMs);
    gate.setLimitMs(this.#endMs);
    this.#gate = gate;
  }

  /** Move the end ahead. Throws ID_MACHINE_CLASH (ids have stopped) or what the store throws (ids go on to the old end). */
  renew(): Promise<void> {
    return this.#renewal.now();
  }

  /** Renew every third of a lease until `close`. Holds no process open. @param onFailed gets each failed renewal */
  keepRenewing(onFailed: (error: unknown) => void): void {
    this.#renewal.keep(this.#leaseMs / 3, onFailed);
  }

  /** Stop issuing and free the machine id, so that its next owner need not wait. Calling it again does nothing. */
  async close(): Promise<void> {
    if (this.#renewal.isStopped) return;
    await this.#renewal.stop();
    this.#gate?.setLimitMs(Number.NEGATIVE_INFINITY);
    // A draw that passed the old limit a moment ago may still store an id of this tick or the one after the highest.
    const issuedMs = this.#gate === undefined ? this.#floorMs : this.#gate.highestIssuedMs() + 21;
    const endMs = Math.min(this.#endMs, Math.max(issuedMs, this.#floorMs, this.#clock.nowMs() + 21));
    const note = JSON.stringify({ owner: '', leaseMs: 0 } satisfies Claim);
    await this.#store.replace(this.#tag, { nextId: endMs, endId: COUNTED_ID_END, note }, this.#version);
  }

  async #renew(): Promise<void> {
    const endMs = Math.max(this.#clock.nowMs(), this.#gate?.highestIssuedMs() ?? this.#floorMs) + this.#leaseMs;
    if (endMs <= this.#endMs) return this.#prove();
    if (await this.#write(endMs)) return;
    // A renewal that seemed to fail may have been carried out; a database that came back empty has no owner at all.
    const standing = await this.#store.read(this.#tag);
    const isOurs = standing === undefined || claimOf(standing).owner === this.#owner;
    if (isOurs) {
      this.#version = standing?.version ?? 0;
      if (await this.#write(Math.max(endMs, standing?.nextId ?? 0))) return;
    }
    this.#stop(standing);
  }

  /** The end is far enough ahead already (the clock was set back): only look whether the claim still stands. */
  async #prove(): Promise<void> {
    const standing = await this.#store.read(this.#tag);
    if (standing !== undefined && claimOf(standing).owner === this.#owner) {
      // Others judge by the version whether this owner lives.
      this.#version = standing.version;
      if (await this.#write(Math.max(this.#endMs, standing.nextId))) return;
    } else if (standing === undefined) {
      this.#version = 0;
      if (await this.#write(this.#endMs)) return;
    }
    this.#stop(standing);
  }

  async #write(endMs: number): Promise<boolean> {
    const note = noteOf(this.#owner, this.#leaseMs);
    const content = { nextId: endMs, endId: COUNTED_ID_END, note };
    const version = await this.#store.replace(this.#tag, content, this.#version);
    if (version === 0) return false;
    this.#version = version;
    this.#endMs = endMs;
    if (!this.#renewal.isStopped) this.#gate?.setLimitMs(endMs);
    return true;
  }

  #stop(standing: SegmentRecord | undefined): never {
    this.#gate?.setLimitMs(Number.NEGATIVE_INFINITY);
    throw clash(this.machineId, standing);
  }
}

/** Claim `machineId` unless a living owner has it. @param mayWait whether to watch an owner for a lease */
async function tryClaim(options: MachineClaimOptions, machineId: number, mayWait: boolean) {
  const { store, clock = systemClock } = options;
  const tag = tagOf(options.scheme, machineId);
  const leaseMs = leaseMsOf(options);
  const standing = await store.read(tag);
  if (standing !== undefined && !(await isFree(store, tag, standing, clock, mayWait))) return undefined;
  const owner = randomBytes(8).toString('hex');
  let version = standing?.version ?? 0;
  let floorMs = standing?.nextId ?? 0;
  const claim = async (): Promise<number | undefined> => {
    const endMs = Math.max(clock.nowMs(), floorMs) + leaseMs;
    const content = { nextId: endMs, endId: COUNTED_ID_END, note: noteOf(owner, leaseMs) };
    version = await store.replace(tag, content, version);
    return version === 0 ? undefined : endMs;
  };
  let endMs = await claim();
  if (standing === undefined && store.mayForget) {
    const startedMs = systemClock.monotonicMs();
    // Renewed meanwhile, so that nobody takes this owner for dead.
    while (endMs !== undefined && systemClock.monotonicMs() - startedMs < leaseMs + SKEW_MS) {
      await sleep(leaseMs / 3);
      floorMs = clock.nowMs();
      endMs = await claim();
    }
  }
  return endMs === undefined ? undefined : { machineId, owner, version, floorMs, endMs };
}

/** Whether the record's owner has left, or gives no sign of life. */
async function isFree(store: SegmentStore, tag: string, standing: SegmentRecord, clock: Clock, mayWait: boolean) {
  const { owner, leaseMs } = claimOf(standing);
  if (owner === '' || clock.nowMs() >= standing.nextId + leaseMs) return true;
  if (!mayWait) return false;
  // Without the wall clock: an owner that lives renews within its lease.
  const startedMs = systemClock.monotonicMs();
  while (systemClock.monotonicMs() - startedMs < leaseMs) {
    await sleep(Math.min(WATCH_STEP_MS, leaseMs));
    const again = await store.read(tag);
    if (again === undefined || again.version === standing.version) continue;
    return false;
  }
  return true;
}

function tagOf(scheme: string, machineId: number): string {
  return `machine/${scheme}/${machineId}`;
}

function noteOf(owner: string, leaseMs: number): string {
  return JSON.stringify({ owner, leaseMs } satisfies Claim);
}

function claimOf(record: SegmentRecord): Claim {
  return JSON.parse(record.note) as Claim;
}

function leaseMsOf({ leaseMs = 5_000 }: MachineClaimOptions): number {
  if (!Number.isInteger(leaseMs) || leaseMs < 100 || leaseMs > 600_000) {
    throw new HalleyError('ID_BAD_OPTION', 'a machine id is claimed for 100 to 600000 ms', { leaseMs });
  }
  return leaseMs;
}

function clash(machineId: number, standing: SegmentRecord | undefined): HalleyError {
  return new HalleyError(
    'ID_MACHINE_CLASH',
    'another generator owns this machine id: give each its own, or lease them',
    { machineId, owner: standing === undefined ? undefined : claimOf(standing).owner, endMs: standing?.nextId },
  );
}
