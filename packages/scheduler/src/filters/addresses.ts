import type { Filter } from "../rules.ts";
import { nameOf } from "../text.ts";

/** The node has an address left for one more task. */
export const addresses: Filter = {
  name: "addresses",
  reads: "node",
  // A task that is there has its address.
  placementOnly: true,
  share: (_task, world) => (world.limitedAddresses ? "" : undefined),
  check(_task, world) {
    if (!world.limitedAddresses) return undefined;
    return (node) => node.state.addresses === undefined || node.held < node.state.addresses;
  },
  room: (_task, { state, held }) => (state.addresses ?? Number.POSITIVE_INFINITY) - held,
  explain(_task, node) {
    const { addresses: most = 0 } = node.state;
    return {
      text: `out of addresses: ${node.held} of ${most} taken on ${nameOf(node)}`,
      help: `stop a task on ${nameOf(node)}, give it a further subnet, or add a node`,
      data: { addresses: most, taken: node.held },
    };
  },
  distance: (_task, { state, held }) => held - (state.addresses ?? held),
};
