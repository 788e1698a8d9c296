/** What becomes of a drained node's tasks: in advance, while they move, and at the end. Pure. */
import {
  NodeSpec_Availability,
  NodeStatus_State,
  TaskState,
  type Node,
  type Task,
  type WatchResponse,
} from "@warren/api";
import { compareByService, hasEnded, isRunning, newestTask, slotName, stateOf } from "@warren/api/model";
import { shortId } from "./views.ts";

/** Slots that are named one by one. */
const mostNamed = 10;

export interface Drained {
  /** Its id. */
  readonly id: string;
  readonly name: string;
  /** Others that can take tasks, by name. */
  readonly takers: readonly string[];
}

export function drained(id: string, nodes: readonly Node[]): Drained {
  const nameOf = ({ meta, description }: Node): string => description?.hostname || shortId(meta?.id);
  const self = nodes.find(({ meta }) => meta?.id === id);
  const takers = nodes.filter(
    ({ meta, spec, status }) =>
      meta?.id !== id &&
      status?.state === NodeStatus_State.READY &&
      (spec?.availability || NodeSpec_Availability.ACTIVE) === NodeSpec_Availability.ACTIVE,
  );
  return { id, name: self === undefined ? shortId(id) : nameOf(self), takers: takers.map(nameOf).toSorted() };
}

/** Tasks of the node that run or are to run there. */
export function tasksThere({ id }: Pick<Drained, "id">, tasks: Iterable<Task>): readonly Task[] {
  return [...tasks].filter((task) => task.nodeId === id && task.current && !hasEnded(task)).toSorted(compareByService);
}

/** Named volumes of tasks, which are folders of their node: `web.1 data`. */
export function volumesOf(tasks: readonly Task[]): readonly string[] {
  return tasks.flatMap((task) =>
    (task.spec?.container?.mounts ?? []).flatMap(({ source }) =>
      source?.$case === "volume" ? [`${slotName(task)} ${source.value.name}`] : [],
    ),
  );
}

/** What draining it would do. */
export function drainPlan(node: Drained, tasks: readonly Task[]): string {
  const there = tasksThere(node, tasks);
  if (there.length === 0) return `${node.name} has no tasks, and would get none`;
  const count = countText(there.length);
  const where =
    node.takers.length === 0
      ? `its ${count} would have nowhere to go and keep running: no other node is ready`
      : `its ${count} would move to ${node.takers.slice(0, mostNamed).join(", ")}, where they fit`;
  return [`${node.name} would get no new tasks; ${where}:`, ...named(there), ...stayText(node, there)].join("\n");
}

function named(tasks: readonly Task[]): readonly string[] {
  const more = tasks.length - mostNamed;
  return [
    ...tasks.slice(0, mostNamed).map((task) => `  ${slotName(task)}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}

/** A task elsewhere begins with an empty volume of the name. */
export function stayText({ name }: Pick<Drained, "name">, tasks: readonly Task[]): readonly string[] {
  const volumes = volumesOf(tasks);
  if (volumes.length === 0) return [];
  const more = volumes.length > mostNamed ? ` and ${volumes.length - mostNamed} more` : "";
  return [
    `volumes stay on ${name}, a task elsewhere begins with empty ones: ${volumes.slice(0, mostNamed).join(", ")}${more}`,
  ];
}

function countText(count: number): string {
  return `${count} task${count === 1 ? "" : "s"}`;
}

export type DrainProgress =
  | { readonly kind: "moving"; readonly text: string }
  /** Nothing more moves by itself. */
  | { readonly kind: "done"; readonly text: string };

/** The tasks of the node's slots, kept from the messages of a watch. */
export class DrainWatch {
  readonly #node: Drained;
  readonly #tasks = new Map<string, Task>();
  /** Slots that had a task on the node when it was drained. */
  readonly #slots = new Set<string>();
  #synced = false;

  constructor(node: Drained, before: readonly Task[]) {
    this.#node = node;
    for (const { slotId } of tasksThere(node, before)) this.#slots.add(slotId);
  }

  get isSynced(): boolean {
    return this.#synced;
  }

  observe({ message }: WatchResponse): void {
    if (message?.$case === "synced") this.#synced = true;
    if (message?.$case !== "change" || message.value.object?.$case !== "task") return;
    const task = message.value.object.value;
    const id = task.meta?.id ?? "";
    if (!this.#slots.has(task.slotId)) return;
    if (message.value.deleted) this.#tasks.delete(id);
    else this.#tasks.set(id, task);
  }

  get progress(): DrainProgress {
    const { name, takers } = this.#node;
    const there = tasksThere(this.#node, this.#tasks.values());
    const all = this.#slots.size;
    if (there.length === 0) {
      const moved =
        all === 0 ? "it has no tasks and gets none" : `its ${countText(all)} ${all === 1 ? "has" : "have"} moved`;
      return { kind: "done", text: `${name} is drained: ${moved}` };
    }
    const stuck = there.filter((task) => this.#waitsForPlace(task));
    const have = there.length === 1 ? "has" : "have";
    const back = `back with 'warren node activate ${name}'`;
    if (takers.length === 0)
      return {
        kind: "done",
        text: `${name} gets no new tasks, but its ${countText(there.length)} ${have} nowhere to go and keep${there.length === 1 ? "s" : ""} running: no other node is ready; ${back}`,
      };
    if (stuck.length === there.length) {
      const names = stuck.slice(0, mostNamed).map(slotName).join(", ");
      const [first] = stuck;
      return {
        kind: "done",
        text: `${name} gets no new tasks, but ${there.length} of its ${countText(all)} ${have} nowhere to go and keep${there.length === 1 ? "s" : ""} running: ${names}; 'warren why ${first === undefined ? name : slotName(first)}' says why; ${back}`,
      };
    }
    return {
      kind: "moving",
      text: `${name}: ${all - there.length} of ${countText(all)} ${all - there.length === 1 ? "has" : "have"} moved`,
    };
  }

  /** Of a task that is to move: the scheduler has found no place for the next one. */
  #waitsForPlace({ slotId }: Task): boolean {
    const next = newestTask([...this.#tasks.values()].filter((task) => task.slotId === slotId));
    return next !== undefined && stateOf(next) <= TaskState.PENDING && next.status?.pending !== undefined;
  }
}

/** `3 tasks run`, of a node. */
export function runningText(tasks: readonly Task[]): string {
  const running = tasks.filter(isRunning).length;
  return `${countText(running)} run${running === 1 ? "s" : ""}`;
}
