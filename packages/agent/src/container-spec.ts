import type { AssignedTask, Resources } from "@warren/api";
import type { ContainerSpec as RuntimeSpec, Mount, Resources as RuntimeResources } from "@warren/runtime";
import { AgentError } from "./errors.ts";

const nanosPerCore = 1_000_000_000;
const logFileBytes = 10 * 2 ** 20;
const logFiles = 5;

/** What our own labels of containers begin with; a service's own can't. */
const labelPrefix = "warren.";

export interface SpecContext {
  readonly nodeId: string;
  /** Of containers that name none. */
  readonly nameServers: readonly string[];
  /** The spec's mounts, as `Volumes` resolved them. */
  readonly mounts: readonly Mount[];
}

/**
 * A task as the runtime is to make it. Every field of the spec arrives, is the agent's own (`stop_grace_ms`,
 * `health_check`), or is refused. What a container can't have is refused by the runtime, by the same names of fields.
 *
 * @throws AgentError `AGENT_SPEC_INVALID`
 */
export function runtimeSpec(task: AssignedTask, context: SpecContext): RuntimeSpec {
  const spec = task.spec?.container;
  if (spec === undefined) throw invalid("container", "is missing");
  const {
    image,
    command,
    args,
    env,
    workingDir,
    user,
    groups,
    hostname,
    labels,
    mounts: _resolvedByVolumes,
    readOnlyRoot,
    capabilityAdd,
    capabilityDrop,
    sysctls,
    ulimits,
    devices,
    extraHosts,
    dns,
    init,
    tty,
    noNewPrivileges,
    stopSignal,
    stopGraceMs: _oursAtTheStop,
    healthCheck,
    logRotation,
    ...rest
  } = spec;
  // A field that proto/ gains does not compile until it is dealt with here.
  rest satisfies Record<string, never>;
  for (const key of Object.keys(labels))
    if (key.startsWith(labelPrefix)) throw invalid(`container.labels["${key}"]`, `names in ${labelPrefix} are ours`);
  if (healthCheck !== undefined && healthCheck.probe === undefined)
    throw invalid("container.health_check", "has no probe: give http, tcp or exec");
  return {
    id: task.id,
    image,
    ...(command.length > 0 && { command }),
    ...(args.length > 0 && { args }),
    env,
    ...(workingDir !== "" && { workingDir }),
    ...(user !== "" && { user }),
    groups,
    ...(hostname !== "" && { hostname }),
    labels: { ...labels, ...taskLabels(task, context.nodeId) },
    resources: resources(task.spec?.resources),
    mounts: context.mounts,
    readOnlyRoot,
    capabilityAdd,
    capabilityDrop,
    sysctls,
    ulimits,
    devices: devices.map(({ source, target, permissions }) => ({
      source,
      ...(target !== "" && { target }),
      ...(permissions !== "" && { permissions }),
    })),
    extraHosts,
    dns: {
      servers: dns === undefined || dns.servers.length === 0 ? context.nameServers : dns.servers,
      search: dns?.search ?? [],
      options: dns?.options ?? [],
    },
    init,
    tty,
    noNewPrivileges,
    ...(stopSignal !== "" && { stopSignal }),
    log: { fileBytes: logRotation?.maxFileBytes || logFileBytes, files: logRotation?.maxFiles || logFiles },
  };
}

function taskLabels(task: AssignedTask, nodeId: string): Record<string, string> {
  return {
    [`${labelPrefix}task`]: task.id,
    [`${labelPrefix}service`]: task.serviceId,
    [`${labelPrefix}service-name`]: task.serviceName,
    [`${labelPrefix}slot`]: String(task.slot),
    [`${labelPrefix}node`]: nodeId,
  };
}

function resources(asked: Resources | undefined): RuntimeResources {
  if (asked === undefined) return {};
  const { cpuLimitNanos, memoryLimitBytes, pidsLimit, cpuReservationNanos, memoryReservationBytes, ...rest } = asked;
  rest satisfies Record<string, never>;
  return {
    ...(cpuLimitNanos > 0 && { cpuLimit: cpuLimitNanos / nanosPerCore }),
    ...(memoryLimitBytes > 0 && { memoryLimitBytes }),
    ...(pidsLimit > 0 && { pidsLimit }),
    ...(cpuReservationNanos > 0 && { cpuReservation: cpuReservationNanos / nanosPerCore }),
    ...(memoryReservationBytes > 0 && { memoryReservationBytes }),
  };
}

function invalid(field: string, why: string): AgentError {
  return new AgentError({ code: "AGENT_SPEC_INVALID", field }, `${field}: ${why}`);
}
