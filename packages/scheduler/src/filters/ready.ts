import type { Filter } from "../rules.ts";
import { nameOf } from "../text.ts";

/** The node's worker is in touch, and nobody paused or drained it. */
export const ready: Filter = {
  name: "ready",
  reads: "state",
  placementOnly: true,
  share: () => "",
  check: () => (node) => node.state.ready && node.state.active,
  explain(_task, node) {
    const state = node.state.ready ? "paused or drained" : "down";
    return {
      text: `not ready or not active: ${nameOf(node)} is ${state}`,
      help: node.state.ready ? `activate ${nameOf(node)}` : `bring ${nameOf(node)} back`,
      data: { state },
    };
  },
  // A node that is only drained is nearer than one that is down.
  distance: (_task, { state }) => (state.ready ? 0 : 1),
};
