import {
  type Constraint,
  constraintTest,
  isConstraintKey,
  isExact,
  parseConstraints,
  topologyOf,
} from "../constraints.ts";
import type { Filter, NodeView, World } from "../rules.ts";
import { andText, clip, nameOf } from "../text.ts";
import type { ConstrainedNode, TaskState } from "../types.ts";

interface Compiled {
  readonly constraint: Constraint;
  readonly test: (node: ConstrainedNode) => boolean;
}

const compiled = new Map<string, Compiled>();

/** Parses an expression once; the cache is emptied when it has grown large. */
function compile(expression: string): Compiled {
  let found = compiled.get(expression);
  if (found === undefined) {
    const [constraint] = parseConstraints([expression]) as [Constraint];
    if (compiled.size >= 10_000) compiled.clear();
    compiled.set(expression, (found = { constraint, test: constraintTest(constraint) }));
  }
  return found;
}

/** The node meets every constraint. */
export const constraints: Filter = {
  name: "constraints",
  reads: "state",
  share: ({ constraints: wanted }) =>
    wanted === undefined || wanted.length === 0 ? undefined : JSON.stringify(wanted),
  check({ constraints: wanted }) {
    if (wanted === undefined || wanted.length === 0) return undefined;
    const tests = wanted.map((each) => compile(each).test);
    const [only] = tests;
    if (tests.length === 1 && only !== undefined) return ({ state }) => only(state);
    return ({ state }) => tests.every((test) => test(state));
  },
  among({ constraints: wanted = [] }, world) {
    let fewest: ReadonlySet<NodeView> | undefined;
    for (const expression of wanted) {
      const { constraint } = compile(expression);
      const [value, more] = constraint.values;
      if (!isExact(constraint) || value === undefined || more !== undefined) continue;
      const nodes = world.nodesWith(constraint.key, value);
      if (nodes !== undefined && (fewest === undefined || nodes.size < fewest.size)) fewest = nodes;
    }
    return fewest;
  },
  explain(task, node, world) {
    const failed = unmet(task, node);
    const [first = ""] = failed;
    const { key } = compile(first).constraint;
    const actual = isConstraintKey(key) ? topologyOf(key)?.(node.state) : undefined;
    const is = isConstraintKey(key)
      ? actual === undefined
        ? ""
        : `, where it is "${clip(actual)}"`
      : ", which names nothing that a node has";
    const drop = `drop ${failed.length === 1 ? "the constraint" : "the constraints"} ${andText(failed.map((each) => `"${clip(each, 160)}"`))}`;
    const relabel = relabelText(task, node, world);
    return {
      text: `excluded by constraints: ${nameOf(node)} fails "${clip(first, 160)}"${is}`,
      help: relabel === undefined ? drop : `${relabel}, or ${drop}`,
      data: { constraint: clip(first, 160), ...(actual === undefined ? {} : { actual: clip(actual) }) },
    };
  },
  distance: (task, node) => unmet(task, node).length,
};

/** Parses each, so that an invalid one is refused before the task is applied. */
export function checkConstraints(expressions: readonly string[] | undefined): void {
  if (expressions !== undefined) for (const each of expressions) compile(each);
}

/** The labels to change on the node so that it meets all; undefined where labels alone are not enough, or would move it to another domain. */
function relabelText(task: TaskState, node: NodeView, world: World): string | undefined {
  const labels = { ...node.state.labels };
  const changes: string[] = [];
  const terms = [task, ...node.tasks.values()].flatMap(({ affinity = [] }) => affinity);
  const dividing = [...terms.map(({ topology }) => topology), ...world.repulsions(task.serviceId).keys()];
  for (const expression of unmet(task, node)) {
    const { key, operator, values } = compile(expression).constraint;
    const label = labelOf(key);
    // A label that is also a topology would change which tasks share the node's domain.
    if (label === undefined || dividing.some((topology) => labelOf(topology) === label)) return undefined;
    const [value = ""] = values;
    if (operator === "!=" || operator === "not in") {
      delete labels[label];
      changes.push(`take the label ${clip(label)} off ${nameOf(node)}`);
    } else {
      labels[label] = value;
      changes.push(`label ${nameOf(node)} with ${clip(label)}${operator === "exists" ? "" : `=${clip(value)}`}`);
    }
  }
  const relabelled = { ...node.state, labels };
  return (task.constraints ?? []).every((each) => compile(each).test(relabelled)) ? andText(changes) : undefined;
}

function labelOf(key: string): string | undefined {
  const prefix = "node.labels.";
  return key.toLowerCase().startsWith(prefix) ? key.slice(prefix.length) : undefined;
}

function unmet({ constraints: wanted = [] }: TaskState, { state }: NodeView): string[] {
  return wanted.filter((each) => !compile(each).test(state));
}
