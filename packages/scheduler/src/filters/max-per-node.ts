import type { Filter } from "../rules.ts";
import { nameOf, taskText } from "../text.ts";
import { followsTasks } from "./ties.ts";

/** The node holds fewer tasks of the service than a node may. */
export const maxPerNode: Filter = {
  name: "max-per-node",
  reads: "node",
  check({ serviceId, maxPerNode: most = 0 }) {
    return most === 0 ? undefined : (node) => (node.services.get(serviceId) ?? 0) < most;
  },
  room: ({ serviceId, maxPerNode: most = 0 }, node) => most - (node.services.get(serviceId) ?? 0),
  explain(task, node) {
    const { serviceId, maxPerNode: most = 0 } = task;
    const held = node.services.get(serviceId) ?? 0;
    return {
      text: `at the limit of ${taskText(most)} of this service per node: ${nameOf(node)} has ${held}`,
      help: `allow ${held + 1} per node${followsTasks(task) ? "" : `, or stop ${held - most + 1} on ${nameOf(node)}`}`,
      data: { limit: most, held },
    };
  },
  distance: ({ serviceId, maxPerNode: most = 0 }, node) => (node.services.get(serviceId) ?? 0) - most,
};
