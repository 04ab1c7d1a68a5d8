/**
 * The live numbers and the line of the last minute.
 */

import type { Rates } from '../rates.js';
import { anyElement, setText } from './elements.js';

/** The view box of the line in page.html. */
const WIDTH = 120;
const HEIGHT = 28;
/** Where zero is drawn: half a stroke above the edge. */
const BASE_Y = 27.5;

export class NumbersView {
  readonly #members = anyElement('members');
  readonly #roundTrip = anyElement('round-trip');
  readonly #perSec = anyElement('per-sec');
  readonly #peak = anyElement('peak');
  readonly #spark = anyElement('spark');
  readonly #received = anyElement('received');
  readonly #meanBatch = anyElement('mean-batch');
  readonly #gaps = anyElement('gaps');
  readonly #missed = anyElement('missed');
  readonly #gapTile = this.#gaps.closest('.stat') ?? this.#gaps;

  /** @param memberCount undefined: not known, or no room */
  showMembers(memberCount: number | undefined): void {
    setText(this.#members, memberCount === undefined ? '–' : whole(memberCount));
  }

  showRoundTrip(roundTripMs: number | undefined): void {
    const text = roundTripMs === undefined ? 'counted by heartbeat' : `heartbeat ${roundTripMs.toFixed(1)} ms`;
    setText(this.#roundTrip, text);
  }

  showRates(rates: Rates): void {
    const { gapCount, missedCount } = rates;
    setText(this.#perSec, whole(rates.messagesPerSec()));
    setText(this.#received, whole(rates.messageCount));
    setText(this.#meanBatch, rates.messageCount === 0 ? '–' : rates.meanBatch.toFixed(rates.meanBatch < 100 ? 1 : 0));
    setText(this.#gaps, whole(gapCount));
    const missed = missedCount === 0 ? 'number unknown' : `${whole(missedCount)} missed`;
    setText(this.#missed, gapCount === 0 ? 'nothing missed' : missed);
    this.#gapTile.classList.toggle('alarm', gapCount > 0);
    const history = rates.history();
    const peak = Math.max(...history);
    setText(this.#peak, peak === 0 ? '' : `peak ${whole(peak)}`);
    const path = sparkPath(history);
    if (this.#spark.getAttribute('d') !== path) this.#spark.setAttribute('d', path);
  }
}

function whole(value: number): string {
  return value.toLocaleString('en');
}

/** An area under a line, the highest value at the top. */
export function sparkPath(values: readonly number[]): string {
  const max = Math.max(1, ...values);
  const stepX = WIDTH / (values.length - 1);
  const points = values.map((value, index) => {
    const y = BASE_Y - (value / max) * (HEIGHT - 2);
    return `${(index * stepX).toFixed(1)} ${y.toFixed(1)}`;
  });
  return `M0 ${BASE_Y}L${points.join('L')}V${BASE_Y}Z`;
}
