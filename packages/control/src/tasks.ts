import {
  Task,
  TasksDefinition,
  invalid,
  precondition,
  type ExecOpen,
  type FieldViolation,
  type ListTasksRequest,
} from "@warren/api";
import { bind, type BoundService } from "@warren/api/server";
import { environmentNameFault } from "@warren/api/spec";
import type { View } from "@warren/store";
import { compareByService, isRunning, slotKeyText, stateOf, taskStateText } from "@warren/api/model";
import { Access, idOf, resolve, resolveServiceOrTask, resolveTask, taskName } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { field, mustBeFew } from "./failures.ts";
import { logs } from "./logs.ts";
import { askNodes } from "./node-answers.ts";
import { ordinal, pageOf } from "./pages.ts";
import { desiredState, presentTask, runsAsWanted } from "./task-reading.ts";

/** How long nodes have to tell what their tasks use, ms. */
const statsMs = 3_000;

export function tasks(access: Access, dependencies: ControlDependencies): BoundService {
  const { relay } = dependencies;
  return bind(TasksDefinition, {
    get({ ref }) {
      const view = access.view();
      return presentTask(view, resolveTask(view, ref));
    },

    list(request) {
      const view = access.view();
      const { items, nextPageToken } = pageOf(request.page, {
        of: "tasks",
        objects: selected(view, request),
        keyOf,
        bytesOf: (task) => Task.encode(task).finish().length,
      });
      return { tasks: items.map((task) => presentTask(view, task)), nextPageToken };
    },

    logs: (request, { signal }) => logs(access, dependencies, request, signal),

    async *exec(requests, { signal }) {
      const input = requests[Symbol.asyncIterator]();
      const first = await input.next();
      const open = first.done === true || first.value.message?.$case !== "open" ? undefined : first.value.message.value;
      if (open === undefined) throw field("open", "must be the first message");
      checkExec(open);
      const task = runningTask(access.view(), open.ref);
      yield* relay.exec(task.nodeId, { ...open, ref: idOf(task) }, rest(input), signal);
    },

    async *portForward(requests, { signal }) {
      const input = requests[Symbol.asyncIterator]();
      const first = await input.next();
      const open = first.done === true || first.value.message?.$case !== "open" ? undefined : first.value.message.value;
      if (open === undefined) throw field("open", "must be the first message");
      if (open.port < 1 || open.port > 65_535) throw field("open.port", `want 1 to 65535, not ${open.port}`);
      const task = runningTask(access.view(), open.ref);
      yield* relay.portForward(task.nodeId, { ...open, ref: idOf(task) }, rest(input), signal);
    },

    async stats({ refs }, { signal }) {
      mustBeFew("refs", refs.length);
      const running = measured(access.view(), refs);
      const byNode = Map.groupBy(running, ({ nodeId }) => nodeId);
      const { answers, unreachableNodes } = await askNodes(
        dependencies.clock,
        statsMs,
        byNode.keys(),
        async (nodeId, all) => {
          const { stats } = await relay.stats(nodeId, { taskIds: (byNode.get(nodeId) ?? []).map(idOf) }, all);
          // A node speaks of its own tasks, whatever it says of whose they are.
          return stats.map((each) => ({ ...each, nodeId }));
        },
        signal,
      );
      return { stats: answers.flat().sort(compareByService), unreachableNodes };
    },
  });
}

/** A stored task never changes, another takes its place; so its key is made once. */
const keys = new WeakMap<Task, string>();
function keyOf(task: Task): string {
  const known = keys.get(task);
  if (known !== undefined) return known;
  const slot = slotKeyText(task.slot);
  const place = /^\d+$/.test(slot) ? ordinal(Number(slot)) : slot;
  const run = `${ordinal(task.epoch?.index ?? 0)}\0${ordinal(task.meta?.createdAt?.getTime() ?? 0)}\0${ordinal(task.run)}`;
  const key = `${task.serviceName}\0${place}\0${run}\0${idOf(task)}`;
  keys.set(task, key);
  return key;
}

function selected(view: View, { services, nodes, desiredStates }: ListTasksRequest): readonly Task[] {
  mustBeFew("services", services.length);
  mustBeFew("nodes", nodes.length);
  mustBeFew("desired_states", desiredStates.length);
  const serviceIds = services.map((ref, i) => idOf(resolve(view, "services", ref, `services[${i}]`)));
  const nodeIds = new Set(nodes.map((ref, i) => idOf(resolve(view, "nodes", ref, `nodes[${i}]`))));
  const ofServices =
    services.length === 0
      ? view.list("tasks")
      : [...new Set(serviceIds)].flatMap((id) => view.find("tasks", "service", id));
  return ofServices.filter(
    (task) =>
      (nodes.length === 0 || nodeIds.has(task.nodeId)) &&
      (desiredStates.length === 0 || desiredStates.includes(desiredState(view, task))),
  );
}

/** Tasks that run, of those that are named; of all if none is. */
function measured(view: View, refs: readonly string[]): readonly Task[] {
  if (refs.length === 0) return view.list("tasks").filter((task) => runsAsWanted(view, task));
  const found = new Map<string, Task>();
  for (const ref of refs) {
    const one = resolveServiceOrTask(view, ref);
    const some = one.kind === "task" ? [one.task] : view.find("tasks", "service", idOf(one.service));
    for (const task of some) if (runsAsWanted(view, task)) found.set(idOf(task), task);
  }
  return [...found.values()];
}

function runningTask(view: View, ref: string): Task {
  const task = resolveTask(view, ref, "open.ref");
  if (isRunning(task)) return task;
  const name = taskName(task);
  throw precondition(
    [
      {
        type: "TASK_NOT_RUNNING",
        subject: `task/${idOf(task)}`,
        description: `task ${name} does not run: it is ${taskStateText(stateOf(task))}`,
      },
    ],
    `see why: warren why ${idOf(task)}`,
  );
}

/** What one command line may hold: the kernel's limit of one argument, and of all together about a quarter of its own. */
const wordBytes = 131_071;
const commandBytes = 524_288;

function checkExec({ command, env, user, workingDir }: ExecOpen): void {
  const violations: FieldViolation[] = [];
  const fault = (name: string, description: string): void =>
    void violations.push({ field: `open.${name}`, description });
  if (command.length === 0 || command[0] === "") fault("command", "name a program");
  const words = [...command, ...Object.entries(env).map(([key, value]) => `${key}=${value}`)];
  if (words.some((word) => word.includes("\0"))) fault("command", "a NUL can't be passed to a program");
  const bytes = words.map((word) => Buffer.byteLength(word));
  if (bytes.some((each) => each > wordBytes) || bytes.reduce((sum, each) => sum + each, 0) > commandBytes)
    fault("command", `want at most ${wordBytes} bytes a word and ${commandBytes} in all, the environment included`);
  for (const key of Object.keys(env)) {
    const why = environmentNameFault(key);
    if (why !== undefined) fault(`env[${JSON.stringify(key)}]`, why);
  }
  if (workingDir !== "" && !workingDir.startsWith("/")) fault("working_dir", "want an absolute path");
  if (user.length > 128) fault("user", "want at most 128 characters");
  if (violations.length > 0) throw invalid(violations);
}

/** What follows `open`. */
async function* rest<R extends { readonly message?: { readonly $case: string } | undefined }>(
  input: AsyncIterator<R>,
): AsyncGenerator<R, void, void> {
  try {
    for (;;) {
      const next = await input.next();
      if (next.done === true) return;
      if (next.value.message?.$case === "open") throw field("open", "must be the first message and no other");
      yield next.value;
    }
  } finally {
    await input.return?.();
  }
}
