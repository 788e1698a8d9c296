import type { NodeView, Scorer } from "../rules.ts";

/** The number of the service's tasks on the node. */
export const serviceTasks: Scorer = {
  name: "service-tasks",
  score:
    ({ serviceId }) =>
    (node) =>
      node.services.get(serviceId) ?? 0,
  varies({ serviceId }, world) {
    const held = world.nodesOf(serviceId);
    return { nodes: { size: held.size, [Symbol.iterator]: () => held.keys() } };
  },
  keep: ({ serviceId }) => serviceId,
  explain: (value) => `${countText(value)} of its service`,
};

/** Steps of headroom: nodes within one step count as equal. */
const headroomSteps = 16;

function usedSteps(node: NodeView, steps: number): number {
  return steps - Math.floor(node.headroom * steps);
}

/** Spread's order: the fewest tasks, then the most headroom. */
export const load: Scorer = {
  name: "load",
  score: () => (node) => node.load,
  explain: (value) => `${countText(value)} in all`,
  order: {
    keys: (node) => [node.load, usedSteps(node, headroomSteps)],
    tie: "headroom",
    explainTie: (value) => `about ${Math.round(100 - (100 * value) / headroomSteps)} % free`,
  },
};

const packingSteps = 1024;

/** Binpack's order: the node with the least headroom that still has room, then the most tasks. */
export const packing: Scorer = {
  name: "packing",
  score: () => (node) => packingSteps - usedSteps(node, packingSteps),
  explain: (value) => `${Math.round((100 * value) / packingSteps)} % free`,
  order: {
    keys: (node) => [packingSteps - usedSteps(node, packingSteps), -node.load],
    tie: "most-tasks",
    explainTie: (value) => `${countText(-value)} in all`,
  },
};

function countText(count: number): string {
  return count === 0 ? "no task" : count === 1 ? "1 task" : `${count} tasks`;
}
