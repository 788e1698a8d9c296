import { domainOf, domainsOf, wide } from "../filters/affinity.ts";
import type { NodeView, Scorer } from "../rules.ts";
import { isNarrow } from "../state/topology.ts";
import type { AffinityTerm, TaskState } from "../types.ts";

function preferred({ affinity }: TaskState): readonly AffinityTerm[] {
  return affinity === undefined ? [] : affinity.filter((term) => term.required === false);
}

/** Preferred affinity and anti-affinity: how many of the preferred terms the node's domains do not meet. */
export const preferredAffinity: Scorer = {
  name: "preferred-affinity",
  score(task, world) {
    const wishes = preferred(task);
    if (wishes.length === 0) return undefined;
    return (node) => {
      let unmet = 0;
      for (const { kind, service, topology } of wishes) {
        const value = domainOf(topology, node.state);
        const beside = value !== undefined && world.tasksIn(service, topology, value) > 0;
        if (beside !== (kind === "affinity")) unmet += 1;
      }
      return unmet;
    };
  },
  varies(task, world) {
    const wishes = preferred(task);
    const nodes = new Set<NodeView>();
    for (const term of wishes) if (isNarrow(term.topology)) for (const node of domainsOf(term, world)) nodes.add(node);
    return { partitions: wide(wishes), nodes };
  },
  explain: (value) =>
    value === 0
      ? "all preferred affinity is met"
      : `${value} preferred affinity ${value === 1 ? "term" : "terms"} unmet`,
};
