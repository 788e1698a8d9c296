import { untolerated } from "../filters/taints.ts";
import type { Scorer } from "../rules.ts";

/** Taints of effect `prefer-no-schedule` that the task does not tolerate. */
export const preferredTaints: Scorer = {
  name: "preferred-taints",
  score(task, world) {
    return world.softTaints ? (node) => untolerated(task, node, "prefer-no-schedule").length : undefined;
  },
  varies(task) {
    const of = (state: Parameters<typeof untolerated>[1]["state"]): string =>
      String(untolerated(task, { state }, "prefer-no-schedule").length);
    return { partitions: [{ key: `taints:${JSON.stringify(task.tolerations ?? [])}`, of }] };
  },
  explain: (value) =>
    value === 0 ? "no untolerated soft taint" : `${value} untolerated soft ${value === 1 ? "taint" : "taints"}`,
};
