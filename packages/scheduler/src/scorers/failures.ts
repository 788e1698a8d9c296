import type { Scorer } from "../rules.ts";

/** A node where the service's version failed five times in five minutes comes last. */
export const recentFailures: Scorer = {
  name: "recent-failures",
  score(task, world) {
    const failing = world.failing(task);
    return failing.size === 0 ? undefined : (node) => (failing.has(node) ? 1 : 0);
  },
  varies: (task, world) => ({ nodes: world.failing(task) }),
  explain: (value) =>
    value === 0 ? "it did not fail there lately" : "it failed there five times in five minutes, as on all others",
};
