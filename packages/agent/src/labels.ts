/** Labels of a container, from which its lease and run are rebuilt if the record was lost (L12). Pure. */
import type { Epoch, Incarnation } from "@warren/api";
import { epochText, keyOfSlot, parseEpoch, serviceOfSlot, slotKeyText, taskIdOf } from "@warren/api/model";

/** Prefix of Warren's own labels; refused in a service's labels. */
export const labelPrefix = "warren.";

export interface RunLabels {
  readonly taskId: string;
  readonly serviceName: string;
  readonly slotId: string;
  readonly epoch: Epoch;
  readonly life: number;
  readonly run: number;
  readonly versionId: string;
  readonly address: string;
  /** Ids of networks. */
  readonly networks: readonly string[];
  /** Upstreams of the task's DNS queries; empty: the node's. */
  readonly nameServers: readonly string[];
  readonly nodeId: string;
  /** The machine's boot id when the container was created. */
  readonly bootId: string;
  /** The incarnation that last assigned the lease, when the container was created. */
  readonly incarnation: Incarnation | undefined;
}

export function labelsOf(run: RunLabels): Record<string, string> {
  const labels = {
    task: run.taskId,
    service: serviceOfSlot(run.slotId),
    "service-name": run.serviceName,
    slot: slotKeyText(keyOfSlot(run.slotId)),
    "slot-id": run.slotId,
    epoch: epochText(run.epoch),
    life: String(run.life),
    run: String(run.run),
    version: run.versionId,
    address: run.address,
    networks: run.networks.join(","),
    "name-servers": run.nameServers.join(","),
    node: run.nodeId,
    boot: run.bootId,
    incarnation: run.incarnation === undefined ? "" : `${run.incarnation.counter}/${run.incarnation.id}`,
  };
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [labelPrefix + name, value]));
}

/** Undefined for a container that is no run of a lease. */
export function parseLabels(containerId: string, labels: Readonly<Record<string, string>>): RunLabels | undefined {
  const of = (name: string): string => labels[labelPrefix + name] ?? "";
  const epoch = parseEpoch(of("epoch"));
  const slotId = of("slot-id");
  const [life, run] = [Number(of("life")), Number(of("run"))];
  if (epoch === undefined || keyOfSlot(slotId) === undefined) return undefined;
  if (!Number.isSafeInteger(life) || !Number.isSafeInteger(run) || run < 1) return undefined;
  // The id is a digest of the rest, so changed or copied labels do not match it.
  if (taskIdOf(slotId, epoch, { life, run }) !== containerId) return undefined;
  return {
    taskId: containerId,
    serviceName: of("service-name"),
    slotId,
    epoch,
    life,
    run,
    versionId: of("version"),
    address: of("address"),
    networks: listOf(of("networks")),
    nameServers: listOf(of("name-servers")),
    nodeId: of("node"),
    bootId: of("boot"),
    incarnation: parseIncarnation(of("incarnation")),
  };
}

function listOf(text: string): string[] {
  return text === "" ? [] : text.split(",");
}

function parseIncarnation(text: string): Incarnation | undefined {
  const [, counter, id = ""] = /^(\d{1,15})\/(.*)$/.exec(text) ?? [];
  return counter === undefined ? undefined : { counter: Number(counter), id };
}
