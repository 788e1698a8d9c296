import type { Filter } from "../rules.ts";
import { nameOf, taskText } from "../text.ts";
import { followsTasks } from "./ties.ts";

/** The node has a free address for the task. */
export const addresses: Filter = {
  name: "addresses",
  reads: "node",
  share: (_task, world) => (world.limitedAddresses ? "" : undefined),
  check(_task, world) {
    if (!world.limitedAddresses) return undefined;
    return (node) => node.state.addresses === undefined || node.held < node.state.addresses;
  },
  room: (_task, { state, held }) => (state.addresses ?? Number.POSITIVE_INFINITY) - held,
  explain(task, node) {
    const { addresses: most = 0 } = node.state;
    const more = node.held - most + 1;
    const stop = `stop ${taskText(more)} on ${nameOf(node)}`;
    return {
      text: `out of addresses: ${nameOf(node)} has ${taskText(node.held)} and addresses for ${most}`,
      help: `give ${nameOf(node)} ${more} more ${more === 1 ? "address" : "addresses"}${more <= node.held && !followsTasks(task) ? `, or ${stop}` : ""}`,
      data: { addresses: most, taken: node.held },
    };
  },
  distance: (_task, { state, held }) => held - (state.addresses ?? held),
};
