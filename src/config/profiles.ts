/**
 * Named sets of defaults: what `fanout.profile` puts in place of the table's own. A file, env or flag still wins over them.
 */

import type { OptionValue } from './option-spec.js';
import type { OptionPath } from './option-table.js';

type Profile = Readonly<Partial<Record<OptionPath, OptionValue>>>;

const PROFILES: Readonly<Record<string, Profile>> = {
  balanced: {},
  /** Few writes: for rooms where a quarter of a second does not matter and CPU does (bench:e2e, `--profile throughput`). */
  throughput: { 'fanout.max_delay_ms': 240, 'fanout.duty_threshold': 0.05, 'fanout.duty_target': 0.02 },
  /** Never waits: one write per message and member, whatever it costs. */
  latency: { 'fanout.max_delay_ms': 0 },
};

/** Name of the option that chooses. */
export const PROFILE_PATH: OptionPath = 'fanout.profile';

/** The defaults that the profile changes; none for a name that is no profile. */
export function profileDefaults(name: unknown): Profile {
  return (typeof name === 'string' && Object.hasOwn(PROFILES, name) ? PROFILES[name] : undefined) ?? {};
}
