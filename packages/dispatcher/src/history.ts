/** Old news can't undo new: whether this manager's history goes on from what a node has obeyed (L13, L14). */
import type { Epoch, Incarnation, Point } from "@warren/api";
import type { Store } from "@warren/store";

/**
 * Why a node that has obeyed `obeyed` is sent no assignments; empty: it is. To be asked after `store.read()`.
 *
 * A manager that was set back, or is of another cluster, knows less than the node: obeyed by it, its assignments would
 * stop what the lost part of the history had started.
 */
export function historyFault(store: Pick<Store, "view" | "knows">, obeyed: Point | undefined): string {
  if (obeyed === undefined || store.knows(obeyed)) return "";
  const mine = store.view().cluster?.incarnation;
  const [ours, theirs] = [mine?.counter ?? 0, obeyed.incarnation?.counter ?? 0];
  if (theirs < ours)
    return (
      `it was last assigned leases in incarnation ${theirs} of the cluster, and the managers are in ${ours}, as the ` +
      `cluster was restored: it keeps what it runs and gets nothing new until it is reconciled`
    );
  if (theirs > ours)
    return (
      `it has obeyed incarnation ${theirs} of the cluster, and this manager is in ${ours}: it was set back, or has the ` +
      `disk of an earlier time; take it away, or restore it from the other managers`
    );
  if (!sameIncarnation(mine, obeyed.incarnation))
    return (
      `it has obeyed another history with the same counter: incarnation ${theirs} is ${obeyed.incarnation?.id ?? ""} ` +
      `there and ${mine?.id ?? ""} here; remove the node from one of the two clusters`
    );
  return (
    `it has obeyed version ${obeyed.version} of reign ${obeyed.reign.toString(36)}, which is not in this manager's ` +
    `history: a part of the history was lost; recover the cluster from the manager or the backup that has it`
  );
}

/** Whether the managers' history has gone through `epoch`, so that they know what became of a lease of it. */
export function isOfThisHistory(store: Pick<Store, "view" | "knows">, epoch: Epoch | undefined): boolean {
  if (epoch === undefined) return false;
  return store.knows({ incarnation: store.view().cluster?.incarnation, reign: epoch.reign, version: epoch.index });
}

function sameIncarnation(a: Incarnation | undefined, b: Incarnation | undefined): boolean {
  return (a?.counter ?? 0) === (b?.counter ?? 0) && (a?.id ?? "") === (b?.id ?? "");
}
