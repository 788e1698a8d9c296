/** Old news can't undo new: whether what a manager says at a point of its history is obeyed (L13, L14). Pure. */
import type { Incarnation, Point } from "@warren/api";

export type Judgement =
  | { readonly kind: "obey" }
  /** A deposed leader's, or late: the point lies before the last one that was obeyed. */
  | { readonly kind: "older"; readonly why: string }
  /** Of another history. */
  | { readonly kind: "refused"; readonly why: string };

/** @param obeyed the last point that was obeyed; undefined: none yet, or the record of it was lost */
export function judgePoint(obeyed: Point | undefined, point: Point | undefined): Judgement {
  if (obeyed === undefined) return { kind: "obey" };
  if (point === undefined) return { kind: "refused", why: "it does not say at which point of which history it is" };
  const [mine, theirs] = [obeyed.incarnation, point.incarnation];
  const [counter, theirCounter] = [mine?.counter ?? 0, theirs?.counter ?? 0];
  // L14: a higher counter is obeyed, a lower refused, an equal one with another id refused.
  if (theirCounter > counter) return { kind: "obey" };
  if (theirCounter < counter)
    return {
      kind: "refused",
      why: `it is of incarnation ${theirCounter} of the cluster, and this node has obeyed incarnation ${counter}`,
    };
  if (!sameIncarnation(mine, theirs))
    return {
      kind: "refused",
      why: `it is of another history: incarnation ${theirCounter} with id ${theirs?.id ?? ""}, and this node has obeyed ${mine?.id ?? ""}`,
    };
  // L13: equal or later in the same history is obeyed.
  if (point.version >= obeyed.version) return { kind: "obey" };
  return {
    kind: "older",
    why: `it is at version ${point.version}, and this node has obeyed version ${obeyed.version}`,
  };
}

export function sameIncarnation(a: Incarnation | undefined, b: Incarnation | undefined): boolean {
  return (a?.counter ?? 0) === (b?.counter ?? 0) && (a?.id ?? "") === (b?.id ?? "");
}
