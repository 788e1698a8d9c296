import type { Cluster, ClusterSpec, Relay } from "@warren/api";
import type { Clock, Logger, Random } from "@warren/std";
import type { Store } from "@warren/store";

export interface ControlDependencies {
  /** Undefined while this manager has no cluster: everything but Clusters.Init is then UNAVAILABLE. */
  readonly store: () => Store | undefined;
  /**
   * Makes this manager the first of a cluster whose spec has been checked and completed, up to `createCluster` on the
   * new store. Called only while there is none, and not twice at a time.
   */
  readonly initCluster: (spec: ClusterSpec) => Promise<Cluster>;
  readonly relay: Relay;
  /** Of Warren. */
  readonly version: string;
  readonly clock: Clock;
  /** For back-off. */
  readonly random: Random;
  readonly log?: Logger;
}
