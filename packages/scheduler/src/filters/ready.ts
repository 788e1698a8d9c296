import type { Filter } from "../rules.ts";
import { nameOf } from "../text.ts";

/** The node is up, and neither paused nor drained. */
export const ready: Filter = {
  name: "ready",
  reads: "state",
  share: () => "",
  check: () => (node) => node.state.ready && node.state.active,
  explain(_task, node) {
    const { ready: isUp, active } = node.state;
    const name = nameOf(node);
    const state = [...(isUp ? [] : ["down"]), ...(active ? [] : ["paused or drained"])].join(", and ");
    const help = isUp ? `activate ${name}` : active ? `bring ${name} back` : `bring ${name} back and activate it`;
    return { text: `not ready or not active: ${name} is ${state}`, help, data: { state } };
  },
  // A node that is only paused or drained is nearer to passing than one that is down.
  distance: (_task, { state }) => (state.ready ? 0 : 2) + (state.active ? 0 : 1),
};
