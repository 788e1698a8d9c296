/**
 * The flags that say what a service is, each beside what it sets. `create` applies them to an empty spec, `update` to
 * the one that there is: a flag that is given replaces, adds by key where it has one, and leaves all else alone.
 */
import { readFileSync } from "node:fs";
import { Flags } from "@oclif/core";
import { parseEnv } from "node:util";
import {
  ContainerSpec,
  HealthCheck,
  LogRotation,
  PortSpec_Mode,
  Placement,
  Resources,
  RestartPolicy,
  RestartPolicy_Condition,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
} from "@warren/api";
import { parseBytes, parseCpus, parseDuration, UnitError } from "../units.ts";
import {
  parseDevice,
  parseKeyValue,
  parseMount,
  parseNetwork,
  parsePort,
  parseUlimit,
  splitWords,
} from "./flag-syntax.ts";

/** The parts of a spec, all there, so that a flag can set its field. */
interface Draft {
  readonly spec: ServiceSpec;
  readonly task: TaskSpec;
  readonly container: ContainerSpec;
  readonly resources: Resources;
  readonly restart: RestartPolicy;
  readonly placement: Placement;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  readonly logRotation: LogRotation;
}

interface FlagUse {
  readonly help: string;
  readonly char?: "p" | "e" | "w" | "u" | "l" | "t";
  /** Given many times. */
  readonly multiple?: boolean;
  readonly group:
    | "CONTAINER"
    | "RESOURCES"
    | "SAFETY"
    | "HEALTH"
    | "NETWORK"
    | "PLACEMENT"
    | "UPDATE"
    | "RESTART"
    | "LOG";
  readonly options?: readonly string[];
  readonly set: (draft: Draft, value: string) => void;
}
interface SwitchUse {
  readonly help: string;
  readonly char?: "t";
  readonly group: FlagUse["group"];
  readonly turn: (draft: Draft, on: boolean) => void;
}

/** Adds, or replaces the entry with the same key. */
function put<T>(list: T[], entry: T, key: (entry: T) => string): void {
  const at = list.findIndex((each) => key(each) === key(entry));
  if (at === -1) list.push(entry);
  else list[at] = entry;
}

/** The probe's flags exclude each other, the timings keep what there is. */
function health(draft: Draft): HealthCheck {
  draft.container.healthCheck ??= HealthCheck.create({});
  return draft.container.healthCheck;
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new UnitError(`'${text}' is not a whole number`);
  return Number(text);
}

function port(text: string): number {
  const number = wholeNumber(text);
  if (number < 1 || number > 65_535) throw new UnitError(`'${text}' is not a port: give 1 to 65535`);
  return number;
}

const orders = { "stop-first": UpdateConfig_Order.STOP_FIRST, "start-first": UpdateConfig_Order.START_FIRST };
const failureActions = {
  pause: UpdateConfig_FailureAction.PAUSE,
  continue: UpdateConfig_FailureAction.CONTINUE,
  rollback: UpdateConfig_FailureAction.ROLLBACK,
};
const conditions = {
  none: RestartPolicy_Condition.NONE,
  "on-failure": RestartPolicy_Condition.ON_FAILURE,
  any: RestartPolicy_Condition.ANY,
};

function rolloutFlags(name: "update" | "rollback"): Record<string, FlagUse> {
  const actions = name === "update" ? Object.keys(failureActions) : ["pause", "continue"];
  return {
    [`${name}-parallelism`]: {
      help: "tasks replaced at once; 0: all",
      group: "UPDATE",
      set: (draft, value) => void (draft[name].parallelism = wholeNumber(value)),
    },
    [`${name}-delay`]: {
      help: "between one batch and the next",
      group: "UPDATE",
      set: (draft, value) => void (draft[name].delayMs = parseDuration(value)),
    },
    [`${name}-order`]: {
      help: "which of the old and the new task goes first",
      group: "UPDATE",
      options: Object.keys(orders),
      set: (draft, value) => void (draft[name].order = orders[value as keyof typeof orders]),
    },
    [`${name}-failure-action`]: {
      help: "what follows when too many new tasks fail",
      group: "UPDATE",
      options: actions,
      set: (draft, value) => void (draft[name].failureAction = failureActions[value as keyof typeof failureActions]),
    },
    [`${name}-monitor`]: {
      help: "how long a new task is watched for failure",
      group: "UPDATE",
      set: (draft, value) => void (draft[name].monitorMs = parseDuration(value)),
    },
    [`${name}-max-failure-ratio`]: {
      help: "share of tasks that may fail, 0 to 1",
      group: "UPDATE",
      set(draft, value) {
        if (!/^(0(\.\d+)?|1(\.0+)?)$/.test(value)) throw new UnitError(`'${value}' is not a share: give 0 to 1`);
        draft[name].maxFailureRatio = Number(value);
      },
    },
  };
}

const uses: Readonly<Record<string, FlagUse>> = {
  image: {
    help: "image, as nginx:1.27 or registry.example:5000/app@sha256:…",
    group: "CONTAINER",
    set: ({ container }, value) => void (container.image = value),
  },
  entrypoint: {
    help: "replaces the image's entrypoint; words as a shell splits them",
    group: "CONTAINER",
    set: ({ container }, value) => void (container.command = splitWords(value)),
  },
  env: {
    help: "KEY=VALUE, or KEY to pass on the caller's",
    char: "e",
    multiple: true,
    group: "CONTAINER",
    set({ container }, value) {
      if (!value.includes("=")) {
        const own = process.env[value];
        if (own === undefined) throw new UnitError(`${value} is not set here: give ${value}=VALUE`);
        container.env[value] = own;
        return;
      }
      const [key, text] = parseKeyValue(value);
      container.env[key] = text;
    },
  },
  "env-file": {
    help: "file of KEY=VALUE lines",
    multiple: true,
    group: "CONTAINER",
    set: ({ container }, value) => void Object.assign(container.env, parseEnv(readFileSync(value, "utf8"))),
  },
  workdir: {
    help: "working directory in the container",
    char: "w",
    group: "CONTAINER",
    set: ({ container }, value) => void (container.workingDir = value),
  },
  user: {
    help: "user or uid, with :group or :gid",
    char: "u",
    group: "CONTAINER",
    set: ({ container }, value) => void (container.user = value),
  },
  group: {
    help: "one more group of the user, by name or number",
    multiple: true,
    group: "CONTAINER",
    set: ({ container }, value) => put(container.groups, value, (group) => group),
  },
  hostname: {
    help: "the container's host name",
    group: "CONTAINER",
    set: ({ container }, value) => void (container.hostname = value),
  },
  label: {
    help: "KEY=VALUE on the service",
    char: "l",
    multiple: true,
    group: "CONTAINER",
    set({ spec }, value) {
      const [key, text] = parseKeyValue(value);
      spec.labels[key] = text;
    },
  },
  "container-label": {
    help: "KEY=VALUE on each container",
    multiple: true,
    group: "CONTAINER",
    set({ container }, value) {
      const [key, text] = parseKeyValue(value);
      container.labels[key] = text;
    },
  },
  mount: {
    help: "type=bind|volume|tmpfs,src=…,dst=…[,ro][,size=64m][,mode=1777]",
    multiple: true,
    group: "CONTAINER",
    set: ({ container }, value) => put(container.mounts, parseMount(value), ({ target }) => target),
  },
  "stop-signal": {
    help: "signal that asks the container to end",
    group: "CONTAINER",
    set: ({ container }, value) => void (container.stopSignal = value),
  },
  "stop-grace": {
    help: "time from the stop signal to SIGKILL",
    group: "CONTAINER",
    set: ({ container }, value) => void (container.stopGraceMs = parseDuration(value)),
  },
  "registry-login": {
    help: "the registry whose stored login its image is pulled with; default: the image's own",
    group: "CONTAINER",
    set: ({ task }, value) => void (task.registryLogin = value),
  },
  "limit-cpu": {
    help: "most processors, as 0.5",
    group: "RESOURCES",
    set: ({ resources }, value) => void (resources.cpuLimitNanos = parseCpus(value)),
  },
  "limit-memory": {
    help: "most memory, as 512m",
    group: "RESOURCES",
    set: ({ resources }, value) => void (resources.memoryLimitBytes = parseBytes(value)),
  },
  "limit-pids": {
    help: "most processes and threads",
    group: "RESOURCES",
    set: ({ resources }, value) => void (resources.pidsLimit = wholeNumber(value)),
  },
  "reserve-cpu": {
    help: "processors set aside",
    group: "RESOURCES",
    set: ({ resources }, value) => void (resources.cpuReservationNanos = parseCpus(value)),
  },
  "reserve-memory": {
    help: "memory set aside",
    group: "RESOURCES",
    set: ({ resources }, value) => void (resources.memoryReservationBytes = parseBytes(value)),
  },
  ulimit: {
    help: "NAME=SOFT[:HARD], as nofile=1024:4096",
    multiple: true,
    group: "RESOURCES",
    set: ({ container }, value) => put(container.ulimits, parseUlimit(value), ({ name }) => name),
  },
  "cap-add": {
    help: "capability on top of the default ones",
    multiple: true,
    group: "SAFETY",
    set: ({ container }, value) => put(container.capabilityAdd, value, (name) => name),
  },
  "cap-drop": {
    help: "capability taken away; ALL for all",
    multiple: true,
    group: "SAFETY",
    set: ({ container }, value) => put(container.capabilityDrop, value, (name) => name),
  },
  sysctl: {
    help: "KEY=VALUE of the container's own namespaces",
    multiple: true,
    group: "SAFETY",
    set({ container }, value) {
      const [key, text] = parseKeyValue(value);
      container.sysctls[key] = text;
    },
  },
  device: {
    help: "SOURCE[:TARGET[:rwm]]",
    multiple: true,
    group: "SAFETY",
    set: ({ container }, value) => put(container.devices, parseDevice(value), ({ source }) => source),
  },
  "health-http": {
    help: "PORT[/PATH] that answers 2xx or 3xx when healthy",
    group: "HEALTH",
    set(draft, value) {
      const [, number = "", path = "/"] = /^(\d+)(\/.*)?$/.exec(value) ?? [];
      health(draft).probe = { $case: "http", value: { port: port(number), path } };
    },
  },
  "health-tcp": {
    help: "PORT that takes connections when healthy",
    group: "HEALTH",
    set: (draft, value) => void (health(draft).probe = { $case: "tcp", value: { port: port(value) } }),
  },
  "health-cmd": {
    help: "command in the container that exits with 0 when healthy",
    group: "HEALTH",
    set: (draft, value) => void (health(draft).probe = { $case: "exec", value: { command: splitWords(value) } }),
  },
  "health-interval": {
    help: "between probes",
    group: "HEALTH",
    set: (draft, value) => void (health(draft).intervalMs = parseDuration(value)),
  },
  "health-timeout": {
    help: "a probe that takes longer has failed",
    group: "HEALTH",
    set: (draft, value) => void (health(draft).timeoutMs = parseDuration(value)),
  },
  "health-retries": {
    help: "failures in a row that make a task unhealthy",
    group: "HEALTH",
    set: (draft, value) => void (health(draft).retries = wholeNumber(value)),
  },
  "health-start-period": {
    help: "after the start, while failures do not count",
    group: "HEALTH",
    set: (draft, value) => void (health(draft).startPeriodMs = parseDuration(value)),
  },
  publish: {
    help: "[PUBLISHED:]TARGET[/udp], or published=…,target=…,protocol=…,mode=ingress|host",
    char: "p",
    multiple: true,
    group: "NETWORK",
    set({ spec }, value) {
      const added = parsePort(value);
      put(spec.ports, added, (each) => `${each.target}/${each.protocol}/${each.mode === PortSpec_Mode.HOST}`);
    },
  },
  network: {
    help: "NAME[,alias=…]: a network to be on; default: 'default'",
    multiple: true,
    group: "NETWORK",
    set: ({ task }, value) => put(task.networks, parseNetwork(value), ({ network }) => network),
  },
  "add-host": {
    help: "NAME:ADDRESS for /etc/hosts",
    multiple: true,
    group: "NETWORK",
    set({ container }, value) {
      const [, name, address] = /^([^:]+):(.+)$/.exec(value) ?? [];
      if (name === undefined || address === undefined) throw new UnitError(`'${value}': want NAME:ADDRESS`);
      container.extraHosts[name] = address;
    },
  },
  dns: {
    help: "name server for names that are not the cluster's",
    multiple: true,
    group: "NETWORK",
    set: ({ container }, value) => put((container.dns ??= noDns()).servers, value, (each) => each),
  },
  "dns-search": {
    help: "domain to search names in, after the cluster's own",
    multiple: true,
    group: "NETWORK",
    set: ({ container }, value) => put((container.dns ??= noDns()).search, value, (each) => each),
  },
  "dns-option": {
    help: "option of resolv.conf",
    multiple: true,
    group: "NETWORK",
    set: ({ container }, value) => put((container.dns ??= noDns()).options, value, (each) => each),
  },
  constraint: {
    help: "node.labels.zone == north, and the like; all must hold",
    multiple: true,
    group: "PLACEMENT",
    set: ({ placement }, value) => put(placement.constraints, value, (each) => each),
  },
  "max-replicas-per-node": {
    help: "most tasks of the service on one node",
    group: "PLACEMENT",
    set: ({ placement }, value) => void (placement.maxReplicasPerNode = wholeNumber(value)),
  },
  "restart-condition": {
    help: "which ends of a task are followed by a new one",
    group: "RESTART",
    options: Object.keys(conditions),
    set: ({ restart }, value) => void (restart.condition = conditions[value as keyof typeof conditions]),
  },
  "restart-delay": {
    help: "from the end of a task to the next one's start",
    group: "RESTART",
    set: ({ restart }, value) => void (restart.delayMs = parseDuration(value)),
  },
  "restart-max-attempts": {
    help: "restarts within the window; 0: no limit",
    group: "RESTART",
    set: ({ restart }, value) => void (restart.maxAttempts = wholeNumber(value)),
  },
  "restart-window": {
    help: "what max-attempts counts in; 0: for ever",
    group: "RESTART",
    set: ({ restart }, value) => void (restart.windowMs = parseDuration(value)),
  },
  "log-max-size": {
    help: "a log file that grows past this is put aside",
    group: "LOG",
    set: ({ logRotation }, value) => void (logRotation.maxFileBytes = parseBytes(value)),
  },
  "log-max-files": {
    help: "log files kept, the newest included",
    group: "LOG",
    set: ({ logRotation }, value) => void (logRotation.maxFiles = wholeNumber(value)),
  },
  ...rolloutFlags("update"),
  ...rolloutFlags("rollback"),
};

const switches: Readonly<Record<string, SwitchUse>> = {
  "read-only": {
    help: "the container's root can't be written to",
    group: "SAFETY",
    turn: ({ container }, on) => void (container.readOnlyRoot = on),
  },
  healthcheck: {
    help: "the image's health check is made; --no-healthcheck: none is",
    group: "HEALTH",
    turn({ container }, on) {
      if (!on) container.healthCheck = HealthCheck.create({ probe: { $case: "none", value: {} } });
      else if (container.healthCheck?.probe?.$case === "none") container.healthCheck = undefined;
    },
  },
  "no-new-privileges": {
    help: "no process gains privileges, by setuid or otherwise",
    group: "SAFETY",
    turn: ({ container }, on) => void (container.noNewPrivileges = on),
  },
  init: {
    help: "a small init as the first process",
    group: "CONTAINER",
    turn: ({ container }, on) => void (container.init = on),
  },
  tty: {
    help: "give it a terminal",
    char: "t",
    group: "CONTAINER",
    turn: ({ container }, on) => void (container.tty = on),
  },
};

/** What `update` can take away again, by key. */
const removals: Readonly<
  Record<string, { readonly help: string; readonly take: (draft: Draft, key: string) => boolean }>
> = {
  "env-rm": { help: "KEY", take: ({ container }, key) => drop(container.env, key) },
  "label-rm": { help: "KEY", take: ({ spec }, key) => drop(spec.labels, key) },
  "container-label-rm": { help: "KEY", take: ({ container }, key) => drop(container.labels, key) },
  "mount-rm": {
    help: "target of a mount",
    take: ({ container }, key) => cut(container.mounts, (each) => each.target === key),
  },
  "publish-rm": {
    help: "target port",
    take: ({ spec }, key) => cut(spec.ports, (each) => String(each.target) === key),
  },
  "network-rm": { help: "name or id", take: ({ task }, key) => cut(task.networks, (each) => each.network === key) },
  "constraint-rm": {
    help: "the whole text",
    take: ({ placement }, key) => cut(placement.constraints, (each) => each === key),
  },
  "add-host-rm": { help: "name", take: ({ container }, key) => drop(container.extraHosts, key) },
  "device-rm": { help: "source", take: ({ container }, key) => cut(container.devices, (each) => each.source === key) },
  "sysctl-rm": { help: "KEY", take: ({ container }, key) => drop(container.sysctls, key) },
  "ulimit-rm": { help: "name", take: ({ container }, key) => cut(container.ulimits, (each) => each.name === key) },
  "cap-add-rm": { help: "name", take: ({ container }, key) => cut(container.capabilityAdd, (each) => each === key) },
  "cap-drop-rm": { help: "name", take: ({ container }, key) => cut(container.capabilityDrop, (each) => each === key) },
};

function drop(record: Record<string, string>, key: string): boolean {
  const had = Object.hasOwn(record, key);
  delete record[key];
  return had;
}

function cut<T>(list: T[], gone: (entry: T) => boolean): boolean {
  const kept = list.filter((entry) => !gone(entry));
  return kept.length < list.splice(0, list.length, ...kept).length;
}

function noDns(): { servers: string[]; search: string[]; options: string[] } {
  return { servers: [], search: [], options: [] };
}

type AnyFlags = Record<string, ReturnType<typeof Flags.string> | ReturnType<typeof Flags.boolean>>;

function declare(): AnyFlags {
  const flags: AnyFlags = {};
  for (const [name, { help, char, multiple, group, options }] of Object.entries(uses)) {
    const settings = { description: help, helpGroup: group, ...(char && { char }), ...(options && { options }) };
    flags[name] = (
      multiple ? Flags.string({ ...settings, multiple: true }) : Flags.string(settings)
    ) as AnyFlags[string];
  }
  for (const [name, { help, char, group }] of Object.entries(switches)) {
    flags[name] = Flags.boolean({ description: help, helpGroup: group, allowNo: true, ...(char && { char }) });
  }
  return flags;
}

/** The flags of `service create` and `service update`, for oclif. */
export const serviceFlags: AnyFlags = declare();

/** Of `service update` alone. */
export const removalFlags: AnyFlags = Object.fromEntries(
  Object.entries(removals).map(([name, { help }]) => [
    name,
    Flags.string({
      description: `take away, by ${help}`,
      helpGroup: "REMOVAL",
      multiple: true,
    }) as unknown as AnyFlags[string],
  ]),
);

/**
 * Applies the flags that were given to a spec.
 *
 * @param args what stood after `--`; undefined leaves the arguments alone
 * @returns a new spec
 * @throws UnitError with the flag's name before it
 */
export function applyServiceFlags(
  before: ServiceSpec,
  flags: Readonly<Record<string, unknown>>,
  args: readonly string[] | undefined,
): ServiceSpec {
  const draft = openDraft(before);
  const given = (name: string): readonly string[] => {
    const value = flags[name];
    return value === undefined ? [] : Array.isArray(value) ? (value as string[]) : [value as string];
  };
  const naming = (name: string, work: () => void): void => {
    try {
      work();
    } catch (error) {
      throw new UnitError(`--${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  for (const [name, { take }] of Object.entries(removals)) {
    for (const key of given(name)) {
      naming(name, () => {
        if (!take(draft, key)) throw new UnitError(`the service has no '${key}' to take away`);
      });
    }
  }
  // The file first: what is given one by one goes before it.
  const order = Object.keys(uses).toSorted((a, b) => Number(b === "env-file") - Number(a === "env-file"));
  for (const name of order) for (const value of given(name)) naming(name, () => uses[name]?.set(draft, value));
  if (flags["healthcheck"] === false && Object.keys(uses).some((name) => name.startsWith("health-") && name in flags))
    throw new UnitError("--no-healthcheck: is against the other --health flags; give one or the other");
  for (const [name, { turn }] of Object.entries(switches))
    if (typeof flags[name] === "boolean") turn(draft, flags[name]);
  if (args !== undefined) draft.container.args = [...args];
  return draft.spec;
}

function openDraft(before: ServiceSpec): Draft {
  const spec = ServiceSpec.fromPartial(structuredClone(before));
  const task = (spec.task ??= TaskSpec.create({}));
  const container = (task.container ??= ContainerSpec.create({}));
  return {
    spec,
    task,
    container,
    resources: (task.resources ??= Resources.create({})),
    restart: (task.restart ??= RestartPolicy.create({})),
    placement: (task.placement ??= Placement.create({})),
    update: (spec.update ??= UpdateConfig.create({})),
    rollback: (spec.rollback ??= UpdateConfig.create({})),
    logRotation: (container.logRotation ??= LogRotation.create({})),
  };
}
