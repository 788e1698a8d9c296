import type { Filter, NodeView } from "../rules.ts";
import { clip, nameOf } from "../text.ts";
import type { Taint, TaskState, Toleration } from "../types.ts";

/** The task tolerates the node's strict taints. */
export const taints: Filter = {
  name: "taints",
  reads: "state",
  placementOnly: true,
  share: ({ tolerations }) =>
    tolerations === undefined || tolerations.length === 0 ? "" : JSON.stringify(tolerations),
  check: (task) => (node) => node.state.taints === undefined || hard(task, node).length === 0,
  explain(task, node) {
    const [first] = hard(task, node);
    const taint = clip(
      first === undefined ? "" : first.value === undefined ? first.key : `${first.key}=${first.value}`,
    );
    return {
      text: `have a taint that the task does not tolerate: ${taint} on ${nameOf(node)}`,
      help: `tolerate ${taint}, or take it off ${nameOf(node)}`,
      data: { taint },
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
