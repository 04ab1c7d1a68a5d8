/**
 * The known name that somebody who wrote an unknown one most likely meant.
 *
 * Source: Levenshtein's distance in two rows (Wagner and Fischer, 1974). Ours also compares what stands behind the last
 * dot, so that the right name in the wrong group (`fanout.heap_mb`) leads to the right group.
 */

/** A right name in a wrong group costs as much as this many wrong letters. */
const WRONG_GROUP_COST = 2;

/** Number of letters to insert, delete or replace to make `b` of `a`. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (previous[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const inserted = (current[column - 1] as number) + 1;
      const deleted = (previous[column] as number) + 1;
      current.push(Math.min(replaced, inserted, deleted));
    }
    previous = current;
  }
  return previous[b.length] as number;
}

/** The nearest of `known` to `name`; the first of several equally near. Case does not count. `known` must not be empty. */
export function nearestName(name: string, known: readonly string[]): string {
  const wanted = name.toLowerCase().slice(0, 200);
  let nearest = known[0] as string;
  let nearestCost = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const against = candidate.toLowerCase();
    const whole = editDistance(wanted, against);
    const cost = Math.min(whole, editDistance(lastPart(wanted), lastPart(against)) + WRONG_GROUP_COST);
    if (cost < nearestCost) {
      nearest = candidate;
      nearestCost = cost;
    }
  }
  return nearest;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}
