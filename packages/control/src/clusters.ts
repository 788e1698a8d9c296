import {
  ApiError,
  ClustersDefinition,
  NodeStatus_State,
  ObjectKind,
  TaskState,
  type Cluster,
  type ClusterSpec,
} from "@warren/api";
import { checkClusterSpec } from "@warren/api/spec";
import { bind, type BoundService } from "@warren/api/server";
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
        tasksRunning: view
          .find("tasks", "desired", String(TaskState.RUNNING))
          .filter(({ status }) => status?.state === TaskState.RUNNING).length,
      };
    },
  });
}

/**
 * Writes what a new cluster begins with, in one transaction: itself and the network `default`.
 *
 * @param spec checked and complete
 * @param id the cluster's; empty: one is made
 * @throws ApiError `API_ALREADY_EXISTS`
 */
export async function createCluster(store: Store, spec: ClusterSpec, id: string = ""): Promise<Cluster> {
  try {
    await store.update((tx) => {
      if (clusterOf(tx) !== undefined) throw clusterExists();
      const meta = { id, version: 0, createdAt: undefined, updatedAt: undefined };
      const made = tx.create("clusters", { meta, spec });
      tx.create("networks", { meta: undefined, spec: { name: defaultNetwork, labels: {} } });
      tx.emit({ kind: ObjectKind.CLUSTER, objectId: made, objectName: made, action: "created", message: "created" });
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
