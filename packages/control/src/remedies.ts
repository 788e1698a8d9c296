/** What would help a task that ended badly or waits, and a command to begin with. Pure. */
import { NodeSpec_Availability, NodeStatus_State, TaskState, type Node, type Task } from "@warren/api";
import { stateOf } from "@warren/api/model";
import { registryOfImage } from "@warren/std";
import type { View } from "@warren/store";
import { idOf, nodeName } from "./access.ts";

export interface Remedy {
  /** In words, without the command; may be empty. */
  readonly text: string;
  /** It can be run as it stands; may be empty. */
  readonly command: string;
}

export const noRemedy: Remedy = { text: "", command: "" };

/** By the code of the error, which is public API; then by what the container's end says. */
export function endRemedy(view: View, task: Task): Remedy {
  const { code = "", container } = task.status ?? {};
  const spec = view.get("versions", task.versionId)?.task;
  if (container?.oomKilled === true) {
    const limit = spec?.resources?.memoryLimitBytes ?? 0;
    const command =
      limit === 0 ? "warren top" : `warren service update ${task.serviceName} --limit-memory ${memoryText(limit * 2)}`;
    return { text: "give it more memory, or find what uses it", command };
  }
  const image = spec?.container?.image ?? "";
  const registry = spec?.registryLogin || (registryOfImage(image) ?? "");
  const login = registry === "" ? "" : `warren registry login ${registry}`;
  switch (code) {
    case "RUNTIME_IMAGE_NOT_FOUND":
      return { text: "correct the image's name or tag; a private image needs a login", command: login };
    case "RUNTIME_REGISTRY_UNAUTHORIZED":
      return { text: "log in at the registry", command: login };
    case "RUNTIME_PLATFORM_MISSING":
      return {
        text: "build the image for the nodes' platform, or place the service where it runs: --constraint node.platform.arch==…",
        command: "warren node list",
      };
  }
  const byCode = texts[code];
  if (byCode !== undefined) return { text: byCode, command: "" };
  if (stateOf(task) === TaskState.ORPHANED)
    return { text: "see why its node does not answer", command: whyNode(view, task) };
  if (stateOf(task) !== TaskState.FAILED) return noRemedy;
  if (container?.exitCode === 127 || container?.exitCode === 126)
    return {
      text: "see whether the command is in the image and may be run",
      command: `warren service inspect ${task.serviceName}`,
    };
  return { text: "read its whole log", command: `warren task logs ${idOf(task)}` };
}

const texts: Readonly<Record<string, string>> = {
  RUNTIME_REFERENCE_INVALID: "correct the image's name",
  RUNTIME_IMAGE_INVALID: "push the image again",
  RUNTIME_DIGEST_MISMATCH:
    "what the registry or a mirror sent is not the image that was asked for: check the mirror, or push the image again",
  RUNTIME_REGISTRY_UNREACHABLE: "check that the node reaches the registry; it is tried again by itself",
  RUNTIME_REGISTRY_REFUSED: "see what the registry says; it is tried again by itself",
  RUNTIME_DISK_FULL: "make room on the node's disk; it is tried again by itself",
  RUNTIME_UNAVAILABLE: "check that containerd runs on the node; it is tried again by itself",
};

export function waitingRemedy(view: View, task: Task, node: Node | undefined): Remedy {
  const { pending } = task.status ?? {};
  if (stateOf(task) > TaskState.PENDING) {
    return node?.spec?.availability === NodeSpec_Availability.DRAIN
      ? { text: "its node is drained; the task moves by itself", command: "" }
      : noRemedy;
  }
  if (pending === undefined) return noRemedy;
  if (pending.nodes === 0)
    return {
      text: "start this machine's worker; if it ended, worker.log in its data directory says why",
      command: "warren node list",
    };
  const refusal =
    pending.refusals.find(({ help }) => help !== "" && pending.help.includes(help)) ?? pending.refusals[0];
  const nearest = view.get("nodes", refusal?.nearestNodeId ?? "");
  const tools = new Set(pending.refusals.flatMap(({ filter }) => filterTools[filter] ?? []));
  const text = pending.help === "" || tools.size === 0 ? pending.help : `${pending.help} (${[...tools].join(", ")})`;
  return { text, command: nearest === undefined ? "" : nodeCommand(nearest) };
}

/** By the name of the scheduler's filter: the commands and flags with which its help is followed. */
const filterTools: Readonly<Record<string, readonly string[]>> = {
  resources: ["warren service update --reserve-cpu --reserve-memory"],
  constraints: ["warren node update --label", "warren service update --constraint-rm"],
  "host-ports": ["warren service update --publish --publish-rm"],
  "max-per-node": ["warren service update --max-replicas-per-node"],
};

/** It is made active where that is all that it lacks; else what there is on it, and what takes its room, is shown. */
function nodeCommand(node: Node): string {
  const isActive = (node.spec?.availability || NodeSpec_Availability.ACTIVE) === NodeSpec_Availability.ACTIVE;
  const canTake = node.status?.state === NodeStatus_State.READY && !isActive;
  return `warren ${canTake ? "node activate" : "why"} ${nodeName(node)}`;
}

function whyNode(view: View, { nodeId }: Task): string {
  const node = view.get("nodes", nodeId);
  return node === undefined ? "warren node list" : `warren why ${nodeName(node)}`;
}

/** Exact, as `--limit-memory` takes it: `128m`. */
function memoryText(bytes: number): string {
  const units = [
    ["g", 2 ** 30],
    ["m", 2 ** 20],
    ["k", 2 ** 10],
  ] as const;
  const [unit, size] = units.find(([, each]) => bytes % each === 0) ?? ["b", 1];
  return `${bytes / size}${unit}`;
}

/** To try again after the slot was given up. */
export function tryAgain(task: Task): Remedy {
  return { text: "then try again", command: `warren service update ${task.serviceName} --force` };
}
