/** Whether a message that carries a point of a history is applied, or is stale (L13, L14). Pure. */
import type { Incarnation, Point } from "@warren/api";

export type PointCheck =
  | { readonly kind: "accepted" }
  /** The point is before the last applied one: the message is of a deposed leader, or late. */
  | { readonly kind: "stale"; readonly why: string }
  /** The point is of another history. */
  | { readonly kind: "refused"; readonly why: string };

/** @param lastApplied undefined: none yet, or lost with the record */
export function checkPoint(lastApplied: Point | undefined, point: Point | undefined): PointCheck {
  if (lastApplied === undefined) return { kind: "accepted" };
  if (point === undefined) return { kind: "refused", why: "it has no point of a history" };
  const [mine, theirs] = [lastApplied.incarnation, point.incarnation];
  const [counter, theirCounter] = [mine?.counter ?? 0, theirs?.counter ?? 0];
  // L14: a higher counter is accepted, a lower refused, an equal one with another id refused.
  if (theirCounter > counter) return { kind: "accepted" };
  if (theirCounter < counter)
    return {
      kind: "refused",
      why: `it is of incarnation ${theirCounter} of the cluster, and this node has applied incarnation ${counter}`,
    };
  if (!sameIncarnation(mine, theirs))
    return {
      kind: "refused",
      why: `it is of another history: incarnation ${theirCounter} with id ${theirs?.id ?? ""}, and this node has applied ${mine?.id ?? ""}`,
    };
  // L13: an equal or later point of the same history is accepted.
  if (point.version >= lastApplied.version) return { kind: "accepted" };
  return {
    kind: "stale",
    why: `it is at version ${point.version}, and this node has applied version ${lastApplied.version}`,
  };
}

export function sameIncarnation(a: Incarnation | undefined, b: Incarnation | undefined): boolean {
  return (a?.counter ?? 0) === (b?.counter ?? 0) && (a?.id ?? "") === (b?.id ?? "");
}
