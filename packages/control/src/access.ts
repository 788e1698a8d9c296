import { ApiError, type Cluster, type Network, type Node, type Service, type Task } from "@warren/api";
import { isRunning, newestTask, parseSlotKey, slotIdOf } from "@warren/api/model";
import {
  StoreError,
  type Store,
  type TableName,
  type Tables,
  type Transaction,
  type UpdateOptions,
  type View,
} from "@warren/store";
import type { ControlDependencies } from "./dependencies.ts";
import { field, fromStore, mustBeFew, noCluster, notFound } from "./failures.ts";
import { limits } from "./limits.ts";

/** The store as the services use it: there is a cluster, failures are in the caller's terms. */
export class Access {
  readonly #store: ControlDependencies["store"];

  constructor(store: ControlDependencies["store"]) {
    this.#store = store;
  }

  /** @throws ApiError `API_UNAVAILABLE` while there is no cluster */
  store(): Store {
    const store = this.#store();
    if (store === undefined || clusterOf(store.view()) === undefined) throw noCluster();
    return store;
  }

  /** The state as applied here. Calls that decide by it come behind the barrier of linearizable reads. */
  view(): View {
    return this.store().view();
  }

  /**
   * One transaction; what it refuses and what it finds done already is linearizable too. `signal` keeps what is cut off
   * before it is proposed from being done at all; later it is done as a whole.
   */
  async update<R>(signal: AbortSignal, work: (tx: Transaction) => R, options: UpdateOptions = {}): Promise<R> {
    const store = this.store();
    try {
      return await store.update(
        (tx) => {
          signal.throwIfAborted();
          return work(tx);
        },
        { linearizable: true, ...options },
      );
    } catch (error) {
      throw fromStore(error);
    }
  }
}

export function clusterOf(view: View): Cluster | undefined {
  return view.list("clusters")[0];
}

export function idOf(object: { readonly meta?: { readonly id: string } | undefined }): string {
  return object.meta?.id ?? "";
}

export function serviceName(service: Service): string {
  return service.spec?.name ?? "";
}
export function nodeName(node: Node): string {
  return node.description?.hostname || idOf(node);
}
export function networkName(network: Network): string {
  return network.spec?.name ?? "";
}
export { slotName as taskName } from "@warren/api/model";

/**
 * By name, id or unique id prefix.
 *
 * @param path of the reference in its request
 * @throws ApiError `API_NOT_FOUND`, `API_AMBIGUOUS`, `API_INVALID`
 */
export function resolve<T extends TableName>(view: View, table: T, ref: string, path: string = "ref"): Tables[T] {
  checkRef(ref, path);
  try {
    return view.resolve(table, ref);
  } catch (error) {
    throw fromStore(error);
  }
}

export function checkRef(ref: string, path: string): void {
  if (ref === "") throw field(path, "is missing: give a name, an id or the beginning of one");
  if (ref.length > limits.refCharacters) throw field(path, `is longer than ${limits.refCharacters} characters`);
}

/** Ids of the nodes that a request names, each once; of all where it names none. */
export function nodesOf(view: View, refs: readonly string[], path: string = "nodes"): ReadonlySet<string> {
  mustBeFew(path, refs.length);
  if (refs.length === 0) return new Set(view.list("nodes").map(idOf));
  return new Set(refs.map((ref, i) => idOf(resolve(view, "nodes", ref, `${path}[${i}]`))));
}

/** By id, unique id prefix, or `SERVICE.SLOT` for the one that runs in that slot, or else the newest there. */
export function resolveTask(view: View, ref: string, path: string = "ref"): Task {
  const dot = ref.lastIndexOf(".");
  if (dot < 0) return resolve(view, "tasks", ref, path);
  const key = parseSlotKey(ref.slice(dot + 1));
  if (key === undefined) throw field(path, `"${ref}" is not a task: write an id, or SERVICE.SLOT such as web.1`);
  const service = resolve(view, "services", ref.slice(0, dot), path);
  const history = view.find("tasks", "slot", slotIdOf(idOf(service), key));
  // The one that runs, while another is being made ready to take its place.
  const found = newestTask(history.filter(isRunning)) ?? newestTask(history);
  if (found === undefined) throw notFound("tasks", ref);
  return found;
}

/** A service, or else a task. */
export function resolveServiceOrTask(
  view: View,
  ref: string,
): { readonly kind: "service"; readonly service: Service } | { readonly kind: "task"; readonly task: Task } {
  checkRef(ref, "ref");
  if (ref.includes(".")) return { kind: "task", task: resolveTask(view, ref) };
  try {
    return { kind: "service", service: view.resolve("services", ref) };
  } catch (error) {
    if (!StoreError.is(error, "STORE_NOT_FOUND")) throw fromStore(error);
  }
  try {
    return { kind: "task", task: view.resolve("tasks", ref) };
  } catch (error) {
    if (!StoreError.is(error, "STORE_NOT_FOUND")) throw fromStore(error);
    throw new ApiError(
      { code: "API_NOT_FOUND", kind: "service or task", ref },
      `there is no service or task "${ref}"`,
      {
        cause: error,
        remedy: "see what there is with: warren service list, warren task list",
      },
    );
  }
}
