/** `warren why` of a node, a network and a published port. Pure over one view. */
import {
  ApiError,
  invalid,
  NodeSpec_Availability,
  NodeStatus_State,
  ObjectKind,
  PortSpec_Protocol,
  type ExplainResponse,
  type Network,
  type Node,
  type PortSpec,
  type Reason,
  type Service,
  type Task,
} from "@warren/api";
import { compareByService, isRunning, newestTask } from "@warren/api/model";
import type { Tables, View } from "@warren/store";
import {
  checkRef,
  idOf,
  networkName,
  nodeName,
  resolve,
  resolveServiceOrTask,
  serviceName,
  taskName,
} from "./access.ts";
import { explainService, explainTask, explanationOf, ofCondition, reason } from "./explanation.ts";
import { waitingRemedy, type Remedy } from "./remedies.ts";
import { summarize } from "./summary.ts";
import { isWanted, leaseOf, waitingText, waitsForNode } from "./task-reading.ts";

/** Tasks and services that are named one by one. */
const mostNamed = 10;

function explainNode(view: View, node: Node): ExplainResponse {
  const name = nodeName(node);
  const tasks = tasksOn(view, node);
  const running = tasks.filter(isRunning).length;
  const count = `${running} of its ${tasks.length} task${tasks.length === 1 ? "" : "s"} run${running === 1 ? "s" : ""}`;
  const counts = tasks.length === 0 ? "it has no tasks" : count;
  return explanationOf({
    kind: ObjectKind.NODE,
    id: idOf(node),
    name,
    summary: `node ${name} ${stateText(node)}; ${counts}`,
    reasons: [...ofNode(view, node, tasks)],
  });
}

function tasksOn(view: View, node: Node): readonly Task[] {
  return view
    .find("tasks", "node", idOf(node))
    .filter((task) => isWanted(view, task) || (isRunning(task) && leaseOf(view, task) !== undefined))
    .toSorted(compareByService);
}

function stateText({ status, spec }: Node): string {
  const { message = "" } = status ?? {};
  const why = message === "" ? "" : `: ${message}`;
  if (status?.state === NodeStatus_State.DOWN) return `is down${why}`;
  if (status?.state !== NodeStatus_State.READY) return `has not reported since the manager started${why}`;
  if (spec?.availability === NodeSpec_Availability.DRAIN) return "is ready, but drained: it gets no tasks";
  if (spec?.availability === NodeSpec_Availability.PAUSE) return "is ready, but paused: it gets no new tasks";
  return `is ready and takes tasks${why}`;
}

function* ofNode(view: View, node: Node, tasks: readonly Task[]): Iterable<Reason> {
  const name = nodeName(node);
  const { status, spec, description } = node;
  const activate = { text: "give it tasks again", command: `warren node activate ${name}` };
  if (status?.state === NodeStatus_State.DOWN)
    yield reason(status.at, "its worker does not answer", {
      text: "start the machine and its worker; if it is gone for good, remove it from the cluster",
      command: `warren node inspect ${name}`,
    });
  for (const condition of description?.conditions ?? []) yield ofCondition(condition, condition.message);
  const stays = (spec?.availability === NodeSpec_Availability.DRAIN ? tasks : []).slice(0, mostNamed);
  for (const task of stays) {
    const next = newestTask(view.find("tasks", "slot", task.slotId));
    if (next === undefined || !waitsForNode(next)) continue;
    const remedy = waitingRemedy(view, next, undefined);
    yield taskReason(next, `${taskName(task)} has nowhere to go: ${waitingText(next, undefined)}`, remedy);
  }
  if ((spec?.availability ?? NodeSpec_Availability.ACTIVE) > NodeSpec_Availability.ACTIVE)
    yield reason(undefined, "it was drained or paused by a command", activate);
  for (const task of tasks.filter((each) => !isRunning(each)).slice(0, mostNamed))
    yield taskReason(task, `${taskName(task)} waits: ${waitingText(task, undefined)}`, {
      text: "",
      command: `warren why ${taskName(task)}`,
    });
  yield reason(undefined, reservationText(view, node, tasks));
  const labels = Object.entries(spec?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  if (labels.length > 0) yield reason(undefined, `its labels: ${labels.slice(0, mostNamed).join(", ")}`);
}

function taskReason(task: Task, text: string, remedy: Remedy): Reason {
  return { ...reason(task.status?.at, text, remedy), taskId: idOf(task), slot: task.slot };
}

function reservationText(view: View, { description }: Node, tasks: readonly Task[]): string {
  let [cpu, memory] = [0, 0];
  for (const { versionId } of tasks) {
    const resources = view.get("versions", versionId)?.task?.resources;
    cpu += resources?.cpuReservationNanos ?? 0;
    memory += resources?.memoryReservationBytes ?? 0;
  }
  const cores = (nanos: number): string => (nanos / 1e9).toFixed(2).replace(/\.?0+$/, "");
  const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const { cpuNanos = 0, memoryBytes = 0 } = description ?? {};
  return `its tasks reserve ${cores(cpu)} of ${cores(cpuNanos)} CPUs and ${mebibytes(memory)} of ${mebibytes(memoryBytes)}`;
}

function explainNetwork(view: View, network: Network): ExplainResponse {
  const name = networkName(network);
  const ids = new Set(view.find("versions", "network", idOf(network)).map((version) => idOf(version)));
  const services = view.list("services").filter(({ versionId }) => ids.has(versionId));
  const names = services.map(serviceName).sort();
  const listed = names.slice(0, mostNamed).join(", ") + (names.length > mostNamed ? ", …" : "");
  const summary =
    names.length === 0
      ? `no service is on network ${name}`
      : `network ${name} connects ${names.length} service${names.length === 1 ? "" : "s"}: ${listed}`;
  const reasons = services.flatMap((service) => {
    const { desired, running, status } = summarize(view, service);
    if (running >= desired) return [];
    const text = `service ${serviceName(service)} runs ${running} of ${desired}: ${status}`;
    return [reason(undefined, text, { text: "", command: `warren why ${serviceName(service)}` })];
  });
  return explanationOf({ kind: ObjectKind.NETWORK, id: idOf(network), name, summary, reasons });
}

interface PortRef {
  readonly published: number;
  /** Undefined: either. */
  readonly protocol: PortSpec_Protocol | undefined;
}

/** `8080`, `:8080`, `53/udp`; undefined of what is none. */
function parsePortRef(ref: string): PortRef | undefined {
  const [, number = "", protocol] = /^:?(\d{1,5})(?:\/(tcp|udp))?$/.exec(ref) ?? [];
  const published = Number(number);
  if (number === "" || published < 1 || published > 65_535) return undefined;
  if (protocol === undefined) return { published, protocol };
  return { published, protocol: protocol === "udp" ? PortSpec_Protocol.UDP : PortSpec_Protocol.TCP };
}

/** Undefined where no service publishes the port. */
function explainPort(view: View, port: PortRef): ExplainResponse | undefined {
  for (const service of view.list("services")) {
    const found = service.endpoint?.ports.find((each) => isThat(each, port));
    if (found === undefined) continue;
    const about = explainService(view, service);
    const protocol = protocolText(found);
    const named = `service ${serviceName(service)}`;
    const state = about.summary.replace(`${named} `, `${named}, which `);
    const text = `port ${found.published}/${protocol} leads to port ${found.target} of ${state}`;
    const subject = `${found.published}/${protocol}`;
    const elsewhere = conditionsOf(view, service)
      .filter((condition) => condition.subject !== "" && condition.subject !== subject)
      .map(({ message }) => message);
    // What is wrong with another port of the service is none of this one's.
    const reasons = about.reasons.filter((each) => !elsewhere.some((message) => each.text.endsWith(message)));
    return { ...about, summary: text, reasons };
  }
  return undefined;
}

function conditionsOf(view: View, service: Service): readonly { readonly subject: string; readonly message: string }[] {
  return view
    .list("nodes")
    .flatMap(({ description }) => description?.conditions ?? [])
    .filter(({ serviceIds }) => serviceIds.includes(idOf(service)));
}

function isThat(each: PortSpec, { published, protocol }: PortRef): boolean {
  return each.published === published && (protocol === undefined || protocolText(each) === protocolText({ protocol }));
}

function protocolText({ protocol }: Pick<PortSpec, "protocol">): string {
  return protocol === PortSpec_Protocol.UDP ? "udp" : "tcp";
}

/** Of whatever `ref` names: a service, a task, a node, a network or a published port. @throws ApiError */
export function explain(view: View, ref: string): ExplainResponse {
  checkRef(ref, "ref");
  const port = parsePortRef(ref);
  if (port !== undefined && !/^\d+$/.test(ref)) return explainPort(view, port) ?? noService(ref);
  let unknown: unknown;
  try {
    const found = resolveServiceOrTask(view, ref);
    return found.kind === "service" ? explainService(view, found.service) : explainTask(view, found.task);
  } catch (error) {
    // A node's name may look like a task's: `edge-1.example`.
    if (!ApiError.is(error, "API_NOT_FOUND") && !ApiError.is(error, "API_INVALID")) throw error;
    unknown = error;
  }
  const node = lookUp(view, "nodes", ref);
  if (node !== undefined) return explainNode(view, node);
  const network = lookUp(view, "networks", ref);
  if (network !== undefined) return explainNetwork(view, network);
  if (port !== undefined) return explainPort(view, port) ?? noService(ref);
  if (/^:|^\d+\/(?:tcp|udp)$/.test(ref))
    throw invalid([{ field: "ref", description: `"${ref}" is no port: give 1 to 65535, as :8080 or 53/udp` }]);
  if (ref.includes(".")) throw unknown;
  throw new ApiError(
    { code: "API_NOT_FOUND", kind: "service or task", ref },
    `there is no service, task, node or network "${ref}"`,
    { remedy: "see what there is with: warren service list, warren task list, warren node list" },
  );
}

function noService(ref: string): never {
  const port = ref.replace(/^:/, "");
  throw new ApiError({ code: "API_NOT_FOUND", kind: "published port", ref }, `no service publishes port ${port}`, {
    remedy: `publish it with: warren service update SERVICE -p ${port.split("/")[0]}:PORT`,
  });
}

/** Undefined where there is none. @throws ApiError `API_AMBIGUOUS` */
function lookUp<T extends "nodes" | "networks">(view: View, table: T, ref: string): Tables[T] | undefined {
  try {
    return resolve(view, table, ref);
  } catch (error) {
    if (!ApiError.is(error, "API_NOT_FOUND")) throw error;
    return undefined;
  }
}
