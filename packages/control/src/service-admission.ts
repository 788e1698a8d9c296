/** What only the cluster's state can tell of a spec: whether its networks exist and its ports are free. */
import {
  PortSpec_Mode,
  invalid,
  precondition,
  type FieldViolation,
  type NetworkAttachment,
  type PortSpec,
  type PreconditionViolation,
  type Service,
  type ServiceSpec,
} from "@warren/api";
import { checkServiceSpec, publishedKey } from "@warren/api/spec";
import { SchedulerError, isConstraintKey, parseConstraints } from "@warren/scheduler";
import { StoreError, type StoreFailure, type View } from "@warren/store";
import { idOf, networkName, serviceName } from "./access.ts";

/** Made with the cluster; where a service goes that names no network. */
export const defaultNetwork = "default";

/** What the request alone tells. @throws ApiError `API_INVALID` */
export function checkSpec(spec: ServiceSpec | undefined): ServiceSpec {
  const checked = checkServiceSpec(spec);
  const violations: FieldViolation[] = [];
  for (const [index, constraint] of (checked.task?.placement?.constraints ?? []).entries()) {
    const field = `spec.task.placement.constraints[${index}]`;
    try {
      for (const { key } of parseConstraints([constraint])) {
        if (!isConstraintKey(key)) violations.push({ field, description: unknownKey(key) });
      }
    } catch (error) {
      if (!SchedulerError.is(error, "SCHEDULER_CONSTRAINT_INVALID")) throw error;
      violations.push({ field, description: error.message });
    }
  }
  if (violations.length > 0) throw invalid(violations);
  return checked;
}

function unknownKey(key: string): string {
  return `"${key}" is nothing of a node; use node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, node.labels.NAME or engine.labels.NAME`;
}

/**
 * The spec as it is stored: networks by id, at least the default one.
 *
 * @param self the service that it is for, whose own ports are no conflict
 * @throws ApiError `API_INVALID`, `API_PRECONDITION`
 */
export function admit(view: View, spec: ServiceSpec, self: string): ServiceSpec {
  const conflicts = portConflicts(view, spec.ports, self);
  if (conflicts.length > 0) throw precondition(conflicts, "publish another port, or 0 for any that is free");
  checkLogin(view, spec.task?.registryLogin ?? "");
  const task = spec.task && { ...spec.task, networks: attachments(view, spec.task.networks) };
  return { ...spec, task };
}

function checkLogin(view: View, registryLogin: string): void {
  if (registryLogin === "" || view.find("registries", "name", registryLogin).length > 0) return;
  throw invalid([
    {
      field: "spec.task.registry_login",
      description: `there is no login for "${registryLogin}": make one with: warren registry login ${registryLogin}`,
    },
  ]);
}

function attachments(view: View, wanted: readonly NetworkAttachment[]): NetworkAttachment[] {
  const asked = wanted.length === 0 ? [{ network: defaultNetwork, aliases: [] }] : wanted;
  const violations: FieldViolation[] = [];
  const seen = new Map<string, number>();
  const resolved = asked.map((attachment, index) => {
    const field = `spec.task.networks[${index}].network`;
    try {
      const id = idOf(view.resolve("networks", attachment.network));
      const first = seen.get(id);
      if (first !== undefined) violations.push({ field, description: `is networks[${first}] again` });
      seen.set(id, index);
      return { ...attachment, network: id };
    } catch (error) {
      if (!StoreError.is(error)) throw error;
      violations.push({ field, description: networkFault(view, attachment.network, error.failure) });
      return attachment;
    }
  });
  if (violations.length > 0) throw invalid(violations);
  return resolved;
}

/** Names that an error lists. */
const mostNames = 10;

function networkFault(view: View, ref: string, failure: StoreFailure): string {
  if (failure.code === "STORE_AMBIGUOUS")
    return `"${ref}" means more than one network: ${failure.candidates.join(", ")}`;
  const names = view.list("networks").map(networkName).sort();
  const more = names.length > mostNames ? ", …" : "";
  return `there is no network "${ref}": there are ${names.slice(0, mostNames).join(", ")}${more}; make one with: warren network create`;
}

/** An ingress port is held on every node; two host ports meet only on a node, which the scheduler sees to. */
function portConflicts(view: View, ports: readonly PortSpec[], self: string): PreconditionViolation[] {
  const wanted = ports.filter(({ published }) => published !== 0);
  if (wanted.length === 0) return [];
  const violations: PreconditionViolation[] = [];
  for (const other of view.list("services")) {
    if (idOf(other) === self) continue;
    const held = new Map(heldPorts(other).map((port) => [publishedKey(port), port]));
    for (const port of wanted) {
      const taken = held.get(publishedKey(port));
      if (taken === undefined || (isHost(taken) && isHost(port))) continue;
      violations.push({
        type: "PORT_IN_USE",
        subject: `service/${serviceName(other)}`,
        description: `port ${publishedKey(port)} is published by service "${serviceName(other)}"`,
      });
    }
  }
  return violations;
}

function heldPorts(service: Service): PortSpec[] {
  const asked = (service.spec?.ports ?? []).filter(({ published }) => published !== 0);
  return [...asked, ...(service.endpoint?.ports ?? [])];
}

function isHost({ mode }: PortSpec): boolean {
  return mode === PortSpec_Mode.HOST;
}
