/**
 * best-of: the first few rows of an order without sorting all of them: an answer names five nodes of a hundred.
 *
 * Guarantees: what a stable sort and a slice would give; `rows` stay as they are. Cost: one comparison for a row that is none of
 * the first, up to `limitCount` for one that is.
 */
export function bestOf<Row>(rows: readonly Row[], limitCount: number, compare: (a: Row, b: Row) => number): Row[] {
  const best: Row[] = [];
  for (const row of rows) {
    if (best.length === limitCount && (limitCount === 0 || compare(row, best[limitCount - 1] as Row) >= 0)) continue;
    let at = best.length === limitCount ? limitCount - 1 : best.length;
    // Behind its equals, which came before it.
    while (at > 0 && compare(row, best[at - 1] as Row) < 0) {
      best[at] = best[at - 1] as Row;
      at--;
    }
    best[at] = row;
  }
  return best;
}
