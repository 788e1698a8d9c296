/** Points of the cluster's history, and whether a point lies in the history of a state (L13). */
import type { Random } from "@warren/std";
import type { Point } from "@warren/api";

import { maxReigns } from "./state.ts";
import type { View } from "./view.ts";

/** A random number for a term, unique among all terms of all histories: 1 to 2^48 - 1, which JSON and JavaScript hold exactly. */
export function newReign(random: Random): number {
  return 1 + random.int(2 ** 48 - 1);
}

export function pointOf({ cluster, reigns, version }: View): Point {
  return { incarnation: cluster?.incarnation, reign: reigns.at(-1)?.reign ?? 0, version };
}

/**
 * Whether `point` lies in the history that led to `view`: in the same incarnation, not later, and in the reign that this
 * history had at the point's version. An absent point, or one of version 0, is in every history.
 *
 * Only the last reigns are kept; an older point counts as in this history.
 */
export function isInHistory(view: View, point: Point | undefined): boolean {
  if (point === undefined || point.version === 0) return true;
  const { incarnation } = view.cluster ?? {};
  if (incarnation?.id !== point.incarnation?.id || incarnation?.counter !== point.incarnation?.counter) return false;
  if (point.version > view.version) return false;
  const at = view.reigns.findLast(({ firstIndex }) => firstIndex <= point.version);
  return at === undefined ? view.reigns.length >= maxReigns : at.reign === point.reign;
}
