/**
 * The API's services on the store: `controlServices` for the server of a manager.
 *
 * - `dependencies.ts`      ControlDependencies, with the way to the nodes
 * - `clusters.ts`          Clusters, createCluster
 * - `services.ts`          Services; `service-admission.ts` what only the cluster's state tells of a spec
 * - `tasks.ts`             Tasks; `logs.ts`, `log-merge.ts`, `log-follow.ts` lines of many tasks as one stream
 * - `nodes.ts`             Nodes
 * - `networks.ts`          Networks
 * - `registries.ts`        Registries; `login-check.ts` what a registry says of a login
 * - `volumes.ts`, `images.ts` Volumes, Images; `node-answers.ts` one question to many nodes
 * - `events.ts`            Events
 * - `update-plan.ts`       what an update would do
 * - `versions.ts`          what tasks are made from; `image-resolver.ts` what an image's tag means
 * - `explanation.ts`       why a service or a task is as it is; `node-explanation.ts` a node, a network or a port;
 *                          `remedies.ts` what would help
 * - `summary.ts`           how many of a service's tasks run, and why others wait; `task-reading.ts` one task
 * - `access.ts`            references, and the store in the caller's terms; `failures.ts` those terms
 * - `pages.ts`             parts of a list; `limits.ts` how much there may be
 * - `redaction.ts`         passwords never come out
 */
import type { BoundService } from "@warren/api/server";
import { Access } from "./access.ts";
import { clusters } from "./clusters.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { events } from "./events.ts";
import { images } from "./images.ts";
import { networks } from "./networks.ts";
import { nodes } from "./nodes.ts";
import { registries } from "./registries.ts";
import { services } from "./services.ts";
import { tasks } from "./tasks.ts";

import { volumes } from "./volumes.ts";

export { createCluster } from "./clusters.ts";
export type { ControlDependencies } from "./dependencies.ts";
export { limits } from "./limits.ts";

/** Clusters, Services, Tasks, Nodes, Networks, Registries, Volumes, Images and Events, for `startServer`. */
export function controlServices(dependencies: ControlDependencies): readonly BoundService[] {
  const access = new Access(dependencies.store);
  return [
    clusters(access, dependencies),
    services(access, dependencies),
    tasks(access, dependencies),
    nodes(access),
    networks(access),
    registries(access, dependencies),
    volumes(access, dependencies),
    images(access, dependencies),
    events(access),
  ];
}
