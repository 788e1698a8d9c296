import type { Filter } from "../rules.ts";
import { nameOf } from "../text.ts";

/** The node's worker reads the level of formats that the task is written in. */
export const level: Filter = {
  name: "level",
  reads: "state",
  share: ({ level: needed = 0 }) => (needed === 0 ? undefined : String(needed)),
  check: ({ level: needed = 0 }) => (needed === 0 ? undefined : ({ state }) => (state.level ?? 0) >= needed),
  explain({ level: needed = 0 }, node) {
    const actual = node.state.level ?? 0;
    return {
      text: `too old for the task, which needs level ${needed}: ${nameOf(node)} has level ${actual}`,
      help: `upgrade ${nameOf(node)} to level ${needed}`,
      data: { needed, actual },
    };
  },
  distance: ({ level: needed = 0 }, { state }) => needed - (state.level ?? 0),
};
