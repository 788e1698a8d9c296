import type { Filter, NodeView } from "../rules.ts";
import { andText, clip, listText, nameOf } from "../text.ts";
import type { Taint, TaskState, Toleration } from "../types.ts";

/** The task tolerates the node's strict taints. */
export const taints: Filter = {
  name: "taints",
  reads: "state",
  share: ({ tolerations }) =>
    tolerations === undefined || tolerations.length === 0 ? "" : JSON.stringify(tolerations),
  check: (task) => (node) => node.state.taints === undefined || hard(task, node).length === 0,
  explain(task, node) {
    const found = hard(task, node).map(({ key, value }) => (value === undefined ? key : `${key}=${value}`));
    const list = listText(found);
    return {
      text: `tainted against the task: ${list} on ${nameOf(node)}`,
      help: `tolerate ${andText(found.map((each) => clip(each)))}, or take ${found.length === 1 ? "it" : "them"} off ${nameOf(node)}`,
      data: { taints: list },
    };
  },
  distance: (task, node) => hard(task, node).length,
};

export function untolerated(task: TaskState, node: Pick<NodeView, "state">, effect: Taint["effect"]): Taint[] {
  const all = (node.state.taints ?? []).filter((taint) => taint.effect === effect);
  return all.filter((taint) => !(task.tolerations ?? []).some((each) => tolerates(each, taint)));
}

function hard(task: TaskState, node: NodeView): Taint[] {
  return untolerated(task, node, "no-schedule");
}

function tolerates({ key, value, effect }: Toleration, taint: Taint): boolean {
  return (
    (key === undefined || key === taint.key) &&
    (value === undefined || value === (taint.value ?? "")) &&
    (effect === undefined || effect === taint.effect)
  );
}
