import {
  type Constraint,
  constraintTest,
  isConstraintKey,
  isExact,
  parseConstraints,
  topologyOf,
} from "../constraints.ts";
import type { Filter, NodeView } from "../rules.ts";
import { clip, nameOf } from "../text.ts";
import type { ConstrainedNode, TaskState } from "../types.ts";

interface Compiled {
  readonly constraint: Constraint;
  readonly test: (node: ConstrainedNode) => boolean;
}

const compiled = new Map<string, Compiled>();

/** Reads an expression once; the memory is emptied when it has grown large. */
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
  explain(task, node) {
    const failed = unmet(task, node)[0] ?? "";
    const key = compile(failed).constraint.key;
    const actual = topologyOf(key)?.(node.state);
    return {
      text: `do not meet the constraints: nearest is ${nameOf(node)}, which fails "${clip(failed, 160)}"`,
      help: isConstraintKey(key)
        ? `change ${clip(key)} of ${nameOf(node)}${actual === undefined ? "" : `, which is "${clip(actual)}"`}, or drop the constraint`
        : `"${clip(key)}" is nothing that a node has: correct the constraint`,
      data: { constraint: clip(failed, 160), ...(actual === undefined ? {} : { actual: clip(actual) }) },
    };
  },
  distance: (task, node) => unmet(task, node).length,
};

/** Reads each, so that what can't be read is refused before it is taken in. */
export function checkConstraints(expressions: readonly string[] | undefined): void {
  if (expressions !== undefined) for (const each of expressions) compile(each);
}

function unmet({ constraints: wanted = [] }: TaskState, { state }: NodeView): string[] {
  return wanted.filter((each) => !compile(each).test(state));
}
