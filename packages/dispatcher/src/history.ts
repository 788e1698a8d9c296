/** Whether the point that a node last applied is in this manager's history (L13, L14). */
import type { Epoch, Incarnation, Point } from "@warren/api";
import type { Store } from "@warren/store";

/**
 * Why a node whose last applied point is `lastApplied` gets no assignments. Empty: it gets them. Call it after
 * `store.read()`.
 *
 * A manager that was set back, or is of another cluster, lacks leases of the node, so its assignments would stop them.
 */
export function historyFault(store: Pick<Store, "view" | "knows">, lastApplied: Point | undefined): string {
  if (lastApplied === undefined || store.knows(lastApplied)) return "";
  const mine = store.view().cluster?.incarnation;
  const [ours, theirs] = [mine?.counter ?? 0, lastApplied.incarnation?.counter ?? 0];
  if (theirs < ours)
    return (
      `it was last assigned leases in incarnation ${theirs} of the cluster, and the managers are in ${ours}, as the ` +
      `cluster was restored: it keeps what it runs and gets nothing new until it is reconciled`
    );
  if (theirs > ours)
    return (
      `it has applied assignments of incarnation ${theirs} of the cluster, and this manager is in ${ours}: its disk was set ` +
      `back; remove this manager, or restore it from the others`
    );
  if (!sameIncarnation(mine, lastApplied.incarnation))
    return (
      `it has applied another history with the same counter: incarnation ${theirs} is ${lastApplied.incarnation?.id ?? ""} ` +
      `there and ${mine?.id ?? ""} here; remove the node from one of the two clusters`
    );
  return (
    `it has applied version ${lastApplied.version} of reign ${lastApplied.reign.toString(36)}, which is not in this manager's ` +
    `history: a part of the history was lost; recover the cluster from the manager or the backup that has it`
  );
}

/** Whether `epoch` is in this history: a lease of it that the state lacks was then released. */
export function isOfThisHistory(store: Pick<Store, "view" | "knows">, epoch: Epoch | undefined): boolean {
  if (epoch === undefined) return false;
  return store.knows({ incarnation: store.view().cluster?.incarnation, reign: epoch.reign, version: epoch.index });
}

function sameIncarnation(a: Incarnation | undefined, b: Incarnation | undefined): boolean {
  return (a?.counter ?? 0) === (b?.counter ?? 0) && (a?.id ?? "") === (b?.id ?? "");
}
