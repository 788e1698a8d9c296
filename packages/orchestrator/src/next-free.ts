/**
 * The first of `count` places, from `from` on and around, that `taken` does not refuse; undefined if it refuses all.
 * Going on from the last one allocated keeps what was just released unused for as long as possible.
 */
export function nextFree(count: number, from: number, taken: (index: number) => boolean): number | undefined {
  for (let step = 0; step < count; step += 1) {
    const index = (from + step) % count;
    if (!taken(index)) return index;
  }
  return undefined;
}
