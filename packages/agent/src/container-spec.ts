import type { Resources, TaskSpec } from "@warren/api";
import type { ContainerSpec as RuntimeSpec, Dns, Mount, Resources as RuntimeResources } from "@warren/runtime";
import { specInvalid } from "./errors.ts";
import { labelPrefix, labelsOf, type RunLabels } from "./labels.ts";

const nanosPerCore = 1_000_000_000;
const logFileBytes = 10 * 2 ** 20;
const logFiles = 5;

export interface SpecContext {
  /** The run that the container is for. */
  readonly run: RunLabels;
  /** The image as it is on this node. */
  readonly image: string;
  /** The container's `resolv.conf`, by `resolverOf`. */
  readonly dns: Dns;
  /** The spec's mounts, as `Volumes` resolved them. */
  readonly mounts: readonly Mount[];
}

/**
 * The runtime's spec of a run. Every field of the task's spec is passed on, is handled by the agent (`stop_grace_ms`,
 * `health_check`), or is refused. The runtime refuses values that a container can't have, by the same names of fields.
 *
 * @throws AgentError `AGENT_SPEC_INVALID`
 */
export function runtimeSpec(task: TaskSpec | undefined, context: SpecContext): RuntimeSpec {
  const spec = task?.container;
  if (spec === undefined) throw specInvalid("container", "is missing");
  const {
    _unknownFields: _ofALaterLevel,
    image: _asItIsHere,
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
    dns: _byResolverOf,
    init,
    tty,
    noNewPrivileges,
    stopSignal,
    stopGraceMs: _oursAtTheStop,
    healthCheck,
    logRotation,
    ...rest
  } = spec;
  // A new field in proto/ does not compile until it is handled here.
  rest satisfies Record<string, never>;
  for (const key of Object.keys(labels))
    if (key.startsWith(labelPrefix))
      throw specInvalid(`container.labels["${key}"]`, `names that begin with ${labelPrefix} are reserved`);
  if (healthCheck !== undefined && healthCheck.probe === undefined)
    throw specInvalid("container.health_check", "has no probe: give http, tcp or exec");
  return {
    id: context.run.taskId,
    image: context.image,
    ...(command.length > 0 && { command }),
    ...(args.length > 0 && { args }),
    env,
    ...(workingDir !== "" && { workingDir }),
    ...(user !== "" && { user }),
    groups,
    ...(hostname !== "" && { hostname }),
    labels: { ...labels, ...labelsOf(context.run) },
    resources: resources(task?.resources),
    mounts: context.mounts,
    readOnlyRoot,
    capabilityAdd,
    capabilityDrop,
    sysctls,
    ulimits: ulimits.map(({ name, soft, hard }) => ({ name, soft, hard })),
    devices: devices.map(({ source, target, permissions }) => ({
      source,
      ...(target !== "" && { target }),
      ...(permissions !== "" && { permissions }),
    })),
    extraHosts,
    dns: context.dns,
    init,
    tty,
    noNewPrivileges,
    ...(stopSignal !== "" && { stopSignal }),
    log: { fileBytes: logRotation?.maxFileBytes || logFileBytes, files: logRotation?.maxFiles || logFiles },
  };
}

function resources(asked: Resources | undefined): RuntimeResources {
  if (asked === undefined) return {};
  const {
    _unknownFields: _ofALaterLevel,
    cpuLimitNanos,
    memoryLimitBytes,
    pidsLimit,
    cpuReservationNanos,
    memoryReservationBytes,
    ...rest
  } = asked;
  rest satisfies Record<string, never>;
  return {
    ...(cpuLimitNanos > 0 && { cpuLimit: cpuLimitNanos / nanosPerCore }),
    ...(memoryLimitBytes > 0 && { memoryLimitBytes }),
    ...(pidsLimit !== 0 && { pidsLimit }),
    ...(cpuReservationNanos > 0 && { cpuReservation: cpuReservationNanos / nanosPerCore }),
    ...(memoryReservationBytes > 0 && { memoryReservationBytes }),
  };
}
