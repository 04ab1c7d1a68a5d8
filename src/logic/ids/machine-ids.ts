/**
 * The machine ids of one id server: one for its snowflakes, one for its sonyflakes, each claimed in the store that all servers
 * share, so that no two have the same whatever their sources say.
 *
 * Threads: the control thread.
 * Guarantees: those of MachineClaim. A generator lives as long as its claim; one that was lost to somebody else is closed, and where
 *   the source is `lease` the next draw gets another machine id. Snowflakes have machine ids that no node's own ids ever have.
 */
import type { IdMachineRule } from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import {
  allocateSnowflake,
  allocateSonyflake,
  type IdGenerator,
  type IssueGate,
  MachineClaim,
  type MachineIdSpan,
  resolveMachineId,
  SERVICE_SNOWFLAKE_MACHINES,
  type SegmentStore,
  Snowflake,
  SnowflakeGenerator,
  SONYFLAKE_MACHINES,
  Sonyflake,
  snowflakeGate,
  sonyflakeGate,
} from '../../id/index.js';
import type { Logger } from '../../telemetry/index.js';

export type MachineScheme = 'snowflake' | 'sonyflake';

export interface MachineIdsOptions {
  readonly store: SegmentStore;
  readonly source: IdMachineRule;
  /** A multiple of 10. */
  readonly epochMs: number;
  readonly leaseMs: number;
  readonly log: Logger;
}

interface Claimed {
  readonly claim: MachineClaim;
  readonly generator: IdGenerator;
}

const MACHINES: Readonly<Record<MachineScheme, MachineIdSpan>> = {
  snowflake: SERVICE_SNOWFLAKE_MACHINES,
  sonyflake: SONYFLAKE_MACHINES,
};

export class MachineIds {
  readonly #options: MachineIdsOptions;
  readonly #claimed = new Map<MachineScheme, Promise<Claimed>>();
  #isClosed = false;

  constructor(options: MachineIdsOptions) {
    this.#options = options;
  }

  /**
   * The generator of a scheme; its machine id is claimed with the first call.
   * @throws HalleyError ID_MACHINE_CLASH, ID_MACHINE_RANGE, ID_MACHINE_FILE, ID_MACHINE_NO_PRIVATE_IP; what the store throws
   */
  async generatorOf(scheme: MachineScheme): Promise<IdGenerator> {
    if (this.#isClosed) throw new HalleyError('ID_SERVICE_CLOSED', 'the id service is shutting down');
    let claimed = this.#claimed.get(scheme);
    if (claimed === undefined) {
      claimed = this.#claim(scheme);
      this.#claimed.set(scheme, claimed);
      // Failed: the next call tries again. The failure itself goes to everyone who awaits it.
      claimed.catch(() => this.#forget(scheme, claimed));
    }
    return (await claimed).generator;
  }

  /** The machine id of a scheme, undefined while none is claimed. */
  async machineIdOf(scheme: MachineScheme): Promise<number | undefined> {
    return (await this.#claimed.get(scheme))?.claim.machineId;
  }

  /** Stop issuing and free the machine ids. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const claimed of await Promise.allSettled(this.#claimed.values())) {
      if (claimed.status === 'rejected') continue;
      try {
        await claimed.value.claim.close();
      } catch (error) {
        this.#options.log.debug({ err: error }, 'a machine id was not given back; its claim ends by itself');
      }
    }
    this.#claimed.clear();
  }

  async #claim(scheme: MachineScheme): Promise<Claimed> {
    const { store, source, epochMs, leaseMs, log } = this.#options;
    const machines = MACHINES[scheme];
    const machineId = source.kind === 'lease' ? 'any' : await resolveMachineId(source, machines);
    const claim = await MachineClaim.open({ store, scheme, machineId, machines, leaseMs });
    const { gate, generator } = makeGenerator(scheme, epochMs, claim.machineId);
    claim.attach(gate);
    claim.keepRenewing((error) => this.#onNotRenewed(scheme, error));
    log.info({ scheme, machineId: claim.machineId }, 'a machine id is claimed');
    return { claim, generator };
  }

  #onNotRenewed(scheme: MachineScheme, error: unknown): void {
    const isLost = error instanceof HalleyError && error.code === 'ID_MACHINE_CLASH';
    this.#options.log.warn({ err: error, scheme }, 'the claim on a machine id was not renewed');
    if (!isLost || this.#options.source.kind !== 'lease') return;
    const lost = this.#claimed.get(scheme);
    this.#forget(scheme, lost);
    // Its timer; the record is another's and stays.
    void lost?.then(({ claim }) =>
      claim.close().catch((closeError) => this.#options.log.debug({ err: closeError }, 'a lost claim was closed')),
    );
  }

  #forget(scheme: MachineScheme, claimed: Promise<Claimed> | undefined): void {
    if (this.#claimed.get(scheme) === claimed) this.#claimed.delete(scheme);
  }
}

function makeGenerator(
  scheme: MachineScheme,
  epochMs: number,
  machineId: number,
): { readonly gate: IssueGate; readonly generator: IdGenerator } {
  if (scheme === 'sonyflake') {
    const memory = allocateSonyflake({ epochMs, machineId });
    return { gate: sonyflakeGate(memory), generator: new Sonyflake(memory) };
  }
  const memory = allocateSnowflake({ epochMs, machineBase: machineId, slotCount: 1 });
  return { gate: snowflakeGate(memory), generator: new SnowflakeGenerator(new Snowflake(memory, 0)) };
}
