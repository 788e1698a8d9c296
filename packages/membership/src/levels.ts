/** The levels of the managers' programs in the store, and the active level that follows from them. */
import { level, minLevel } from "@warren/api/model";
import { raiseLevel, type Store } from "@warren/store";

/** Writes the levels of this manager's program where they have changed, and raises the active level if every manager can. */
export async function introduce(
  store: Pick<Store, "update">,
  { id, version }: { readonly id: string; readonly version: string },
): Promise<void> {
  await store.update((tx) => {
    const known = tx.get("managers", id);
    const now = { level, minLevel, version };
    if (known === undefined) {
      tx.create("managers", { meta: { id, version: 0, createdAt: undefined, updatedAt: undefined }, ...now });
    } else if (known.level !== level || known.minLevel !== minLevel || known.version !== version) {
      tx.update("managers", { ...known, ...now });
    }
    raiseLevel(tx);
  });
}
