import type { Filter } from "../rules.ts";

/** The node holds fewer tasks of the service than a node may. */
export const maxPerNode: Filter = {
  name: "max-per-node",
  reads: "node",
  check({ serviceId, maxPerNode: most = 0 }) {
    return most === 0 ? undefined : (node) => (node.services.get(serviceId) ?? 0) < most;
  },
  room: ({ serviceId, maxPerNode: most = 0 }, node) => most - (node.services.get(serviceId) ?? 0),
  explain: ({ maxPerNode: most = 0 }) => ({
    text: `hold their limit of ${most} tasks of this service`,
    help: `add a node, or let a node hold more than ${most}`,
    data: { limit: most },
  }),
};
