import type { Scorer } from "../rules.ts";
import { preferredAffinity } from "./affinity.ts";
import { recentFailures } from "./failures.ts";
import { imagePresent } from "./image.ts";
import { load, packing, serviceTasks } from "./load.ts";
import { preferredTaints } from "./taints.ts";

export type Strategy = "spread" | "binpack";

/** In their order, which comes after the task's spread preferences. */
export const defaultScorers: Readonly<Record<Strategy, readonly Scorer[]>> = {
  spread: [recentFailures, preferredAffinity, preferredTaints, serviceTasks, load, imagePresent],
  binpack: [recentFailures, preferredAffinity, preferredTaints, packing, imagePresent],
};
