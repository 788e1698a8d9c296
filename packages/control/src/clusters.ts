import {
  ApiError,
  ClustersDefinition,
  NodeStatus_State,
  ObjectKind,
  type Cluster,
  type ClusterSpec,
} from "@warren/api";
import { isRunning, level } from "@warren/api/model";
import { checkClusterSpec } from "@warren/api/spec";
import { bind, type BoundService } from "@warren/api/server";
import { newId, systemRandom, type Random } from "@warren/std";
import type { Store } from "@warren/store";
import { Access, clusterOf, idOf } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { fromStore } from "./failures.ts";
import { defaultNetwork } from "./service-admission.ts";

export function clusters(access: Access, dependencies: ControlDependencies): BoundService {
  const { store, initCluster, version } = dependencies;
  let initialising = false;
  return bind(ClustersDefinition, {
    async init({ spec }) {
      const checked = checkClusterSpec(spec);
      const view = store()?.view();
      if (view !== undefined && clusterOf(view) !== undefined) throw clusterExists();
      if (initialising) {
        throw new ApiError({ code: "API_ABORTED" }, "another init of this manager is under way", {
          remedy: "see what it came to: warren cluster info",
        });
      }
      initialising = true;
      try {
        return await initCluster(checked);
      } finally {
        initialising = false;
      }
    },

    get() {
      const view = access.view();
      const nodes = view.list("nodes");
      return {
        cluster: clusterOf(view),
        version,
        nodes: nodes.length,
        nodesReady: nodes.filter(({ status }) => status?.state === NodeStatus_State.READY).length,
        services: view.list("services").length,
        tasksRunning: view.list("tasks").filter(isRunning).length,
      };
    },
  });
}

/**
 * Writes what a new cluster begins with, in one transaction: itself and the network `default`.
 *
 * @param spec checked and complete
 * `id` is the cluster's; empty: one is made. `random` makes it and the id of its first incarnation.
 *
 * @throws ApiError `API_ALREADY_EXISTS`
 */
export async function createCluster(
  store: Store,
  spec: ClusterSpec,
  { id = "", random = systemRandom }: { readonly id?: string; readonly random?: Random } = {},
): Promise<Cluster> {
  const incarnationId = newId(random);
  try {
    await store.update((tx) => {
      if (clusterOf(tx) !== undefined) throw clusterExists();
      const meta = { id, version: 0, createdAt: undefined, updatedAt: undefined };
      const incarnation = { counter: 1, id: incarnationId };
      const made = tx.create("clusters", { meta, spec, incarnation, level });
      tx.create("networks", { meta: undefined, spec: { name: defaultNetwork, labels: {} } });
      tx.emit({
        kind: ObjectKind.CLUSTER,
        objectId: made,
        objectName: made,
        action: "created",
        message: "the cluster begins",
      });
    });
  } catch (error) {
    throw fromStore(error);
  }
  const cluster = clusterOf(store.view());
  if (cluster === undefined || idOf(cluster) === "") throw new Error("a cluster that was written is not there");
  return cluster;
}

function clusterExists(): ApiError {
  return new ApiError({ code: "API_ALREADY_EXISTS", kind: "cluster", name: "" }, "this manager has a cluster already", {
    remedy: "see it with: warren cluster info",
  });
}
