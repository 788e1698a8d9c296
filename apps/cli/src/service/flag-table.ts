/**
 * The flags that say what a service is, each beside what it sets. A row is one flag: its help, the field of the spec that
 * errors name it by, and how its text is read.
 */
import {
  ContainerSpec,
  HealthCheck,
  LogRotation,
  Placement,
  PortSpec_Protocol,
  Resources,
  RestartPolicy,
  RestartPolicy_Condition,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
  type PortSpec,
} from "@warren/api";
import { limits } from "@warren/api/spec";
import {
  formatBytes,
  parseBytes,
  parseCpus,
  parseDuration,
  parsePositiveDuration,
  UnitError,
  wholeNumber,
} from "../units.ts";
import { parseEnvironment, readEnvFile, withoutTemplates } from "./env-file.ts";
import {
  capabilityName,
  parseDevice,
  parseHealthCommand,
  parseHostEntry,
  parseKeyValue,
  parseLabel,
  parseMount,
  parseNetwork,
  parsePorts,
  parseUlimit,
  portMatcher,
  splitWords,
} from "./flag-syntax.ts";

/** The parts of a spec, all there, so that a flag can set its field. */
export interface Draft {
  readonly spec: ServiceSpec;
  readonly task: TaskSpec;
  readonly container: ContainerSpec;
  readonly resources: Resources;
  readonly restart: RestartPolicy;
  readonly placement: Placement;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  readonly logRotation: LogRotation;
  /** What this command gave so far, by what only one may hold. */
  readonly given: Map<string, string>;
}

export function openDraft(before: ServiceSpec): Draft {
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
    given: new Map(),
  };
}

type FlagGroup =
  | "CONTAINER"
  | "RESOURCES"
  | "SAFETY"
  | "HEALTH"
  | "NETWORK"
  | "PLACEMENT"
  | "UPDATE"
  | "RESTART"
  | "LOG";

interface AnyUse {
  readonly help: string;
  readonly group: FlagGroup;
  readonly char?: "p" | "e" | "w" | "u" | "l" | "t";
  /** One of the few that `--help` shows. */
  readonly common?: boolean;
  /** The field that it sets, as errors of the API name it below `spec`. */
  readonly field: string;
}
export interface FlagUse extends AnyUse {
  /** What its text is, for help: `SIZE`. */
  readonly value: string;
  /** Given many times. */
  readonly multiple?: boolean;
  readonly options?: readonly string[];
  readonly set: (draft: Draft, value: string) => void;
}
export interface SwitchUse extends AnyUse {
  readonly turn: (draft: Draft, on: boolean) => void;
}
export interface Removal {
  readonly help: string;
  readonly value: string;
  /** False where there was none. */
  readonly take: (draft: Draft, key: string) => boolean;
}

/** Adds, or replaces the entry with the same key. */
function put<T>(list: T[], entry: T, key: (entry: T) => string): void {
  const at = list.findIndex((each) => key(each) === key(entry));
  if (at === -1) list.push(entry);
  else list[at] = entry;
}

/** Notes that `text` holds what only one may hold. @throws UnitError where another text of this command holds it */
function hold({ given }: Draft, what: string, text: string): void {
  const other = given.get(what);
  if (other !== undefined && other !== text)
    throw new UnitError(`'${other}' and '${text}' contradict each other: both are for ${what}; give one of them`);
  given.set(what, text);
}

/** Sets an entry whatever its name. */
function setEntry(record: Record<string, string>, [key, value]: readonly [string, string]): void {
  if (key === "__proto__") throw new UnitError("'__proto__' can't be a name here");
  record[key] = value;
}

/** The probe's flags exclude each other, the timings keep what there is. */
function health(draft: Draft): HealthCheck {
  draft.container.healthCheck ??= HealthCheck.create({});
  return draft.container.healthCheck;
}

function setProbe(draft: Draft, probe: HealthCheck["probe"], flag: string): void {
  const other = draft.given.get("probe");
  if (other !== undefined) throw new UnitError(`--${other} is given too, and a task has one health check: give one`);
  draft.given.set("probe", flag);
  health(draft).probe = probe;
}

function bounded(text: string, least: number, most: number): number {
  const number = wholeNumber(text);
  if (number >= least && number <= most) return number;
  throw new UnitError(`'${text}': give ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`);
}

function port(text: string): number {
  const number = wholeNumber(text);
  if (number < 1 || number > 65_535) throw new UnitError(`'${text}' is not a port: give 1 to 65535`);
  return number;
}

/** `0`, which is none, or a size from `least` up. */
function memory(text: string, least: number): number {
  const bytes = parseBytes(text);
  if (bytes > limits.mostMemoryBytes)
    throw new UnitError(`'${text}' is too much (most ${formatBytes(limits.mostMemoryBytes)})`);
  if (bytes === 0 || bytes >= least) return bytes;
  const guess = /^\d+$/.test(text) ? `; did you mean ${text}m?` : "";
  throw new UnitError(`'${text}' is too little (least ${formatBytes(least)}, or 0 for none)${guess}`);
}

function processors(text: string, least: number): number {
  const nanos = parseCpus(text);
  if (nanos > limits.mostCpuNanos)
    throw new UnitError(`'${text}' is too much (most ${limits.mostCpuNanos / 1e9} processors)`);
  if (nanos === 0 || nanos >= least) return nanos;
  throw new UnitError(`'${text}' is too little (least ${least / 1e9} of a processor, or 0 for none)`);
}

/** Docker has 0 and -1 for no limit; in a spec 0 is the default. */
function processes(text: string): number {
  if (["0", "-1", "none"].includes(text)) return -1;
  return bounded(text, 1, limits.pids);
}

function delay(text: string): number {
  return parseDuration(text, limits.delayMs);
}
function positiveDelay(text: string): number {
  return parsePositiveDuration(text, limits.delayMs);
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
  const use = (field: string, rest: Omit<FlagUse, "group" | "field">): FlagUse => ({
    group: "UPDATE",
    field: `${name}.${field}`,
    ...rest,
  });
  return {
    [`${name}-parallelism`]: use("parallelism", {
      help: "How many tasks are replaced at once; 0 for all (default 1)",
      value: "N",
      set: (draft, value) => void (draft[name].parallelism = bounded(value, 0, limits.replicas)),
    }),
    [`${name}-delay`]: use("delay_ms", {
      help: "Pause between one batch and the next (default 0)",
      value: "DURATION",
      set: (draft, value) => void (draft[name].delayMs = delay(value)),
    }),
    [`${name}-order`]: use("order", {
      help: "Whether the old task stops before the new one starts (default stop-first)",
      value: "ORDER",
      options: Object.keys(orders),
      set: (draft, value) => void (draft[name].order = orders[value as keyof typeof orders]),
    }),
    [`${name}-failure-action`]: use("failure_action", {
      help: "What to do when too many new tasks fail (default pause)",
      value: "ACTION",
      options: actions,
      set: (draft, value) => void (draft[name].failureAction = failureActions[value as keyof typeof failureActions]),
    }),
    [`${name}-monitor`]: use("monitor_ms", {
      help: "How long a new task is watched: an end within it counts as a failure (default 5s)",
      value: "DURATION",
      set: (draft, value) => void (draft[name].monitorMs = delay(value)),
    }),
    [`${name}-max-failure-ratio`]: use("max_failure_ratio", {
      help: "Share of new tasks that may fail, 0 to 1 (default 0)",
      value: "RATIO",
      set(draft, value) {
        if (!/^(0?\.\d+|0|1(\.0+)?)$/.test(value)) throw new UnitError(`'${value}' is not a share: give 0 to 1`);
        draft[name].maxFailureRatio = Number(value);
      },
    }),
  };
}

export const uses: Readonly<Record<string, FlagUse>> = {
  image: {
    help: "Image to run, such as nginx:1.27 or registry.example:5000/app@sha256:…",
    value: "IMAGE",
    group: "CONTAINER",
    common: true,
    field: "task.container.image",
    set: ({ container }, value) => void (container.image = value),
  },
  entrypoint: {
    help: "Command in place of the image's entrypoint, split into words as a shell does",
    value: "COMMAND",
    group: "CONTAINER",
    field: "task.container.command",
    set: ({ container }, value) => void (container.command = splitWords(value)),
  },
  env: {
    help: "Environment variable; NAME alone takes its value from this shell",
    value: "NAME=VALUE",
    char: "e",
    multiple: true,
    group: "CONTAINER",
    common: true,
    field: "task.container.env",
    set: ({ container }, value) => setEntry(container.env, parseEnvironment(value, process.env)),
  },
  "env-file": {
    help: "File with a NAME=VALUE on each line, read as Docker does: quotes and # are part of a value",
    value: "FILE",
    multiple: true,
    group: "CONTAINER",
    field: "task.container.env",
    set({ container }, value) {
      for (const entry of readEnvFile(value, process.env)) setEntry(container.env, entry);
    },
  },
  workdir: {
    help: "Working directory in the container",
    value: "PATH",
    char: "w",
    group: "CONTAINER",
    field: "task.container.working_dir",
    set: ({ container }, value) => void (container.workingDir = value),
  },
  user: {
    help: "User to run as, by name or number, with :GROUP if need be",
    value: "USER",
    char: "u",
    group: "CONTAINER",
    field: "task.container.user",
    set: ({ container }, value) => void (container.user = value),
  },
  group: {
    help: "Supplementary group, by name or number",
    value: "GROUP",
    multiple: true,
    group: "CONTAINER",
    field: "task.container.groups",
    set: ({ container }, value) => put(container.groups, value, (group) => group),
  },
  hostname: {
    help: "Host name in the container (default: the beginning of the task's id)",
    value: "NAME",
    group: "CONTAINER",
    field: "task.container.hostname",
    set: ({ container }, value) => void (container.hostname = withoutTemplates(value)),
  },
  label: {
    help: "Label of the service",
    value: "KEY=VALUE",
    char: "l",
    multiple: true,
    group: "CONTAINER",
    field: "labels",
    set: ({ spec }, value) => setEntry(spec.labels, parseLabel(value)),
  },
  "container-label": {
    help: "Label of each container",
    value: "KEY=VALUE",
    multiple: true,
    group: "CONTAINER",
    field: "task.container.labels",
    set: ({ container }, value) => setEntry(container.labels, parseLabel(value)),
  },
  mount: {
    help: "Volume, directory of the node (bind) or memory (tmpfs): type=volume,src=data,dst=/data[,ro]",
    value: "MOUNT",
    multiple: true,
    group: "CONTAINER",
    common: true,
    field: "task.container.mounts",
    set(draft, value) {
      const mount = parseMount(value);
      hold(draft, `the path ${mount.target.replace(/(.)\/+$/, "$1")}`, value);
      put(draft.container.mounts, mount, ({ target }) => target);
    },
  },
  "stop-signal": {
    help: "Signal that asks the container to end (default: the image's, else SIGTERM)",
    value: "SIGNAL",
    group: "CONTAINER",
    field: "task.container.stop_signal",
    set: ({ container }, value) => void (container.stopSignal = value),
  },
  "stop-grace": {
    help: "Grace period: time to end after the stop signal, before it is killed (default 10s)",
    value: "DURATION",
    group: "CONTAINER",
    field: "task.container.stop_grace_ms",
    set: ({ container }, value) => void (container.stopGraceMs = delay(value)),
  },
  "registry-login": {
    help: "Registry whose stored login pulls the image (default: the image's own registry)",
    value: "REGISTRY",
    group: "CONTAINER",
    field: "task.registry_login",
    set: ({ task }, value) => void (task.registryLogin = value),
  },
  "limit-cpu": {
    help: "Most processor time, in processors: 0.5 is half of one; 0 for no limit (default 0)",
    value: "CPUS",
    group: "RESOURCES",
    common: true,
    field: "task.resources.cpu_limit_nanos",
    set: ({ resources }, value) => void (resources.cpuLimitNanos = processors(value, limits.leastCpuNanos)),
  },
  "limit-memory": {
    help: "Most memory, such as 512m; 0 for no limit (default 0)",
    value: "SIZE",
    group: "RESOURCES",
    common: true,
    field: "task.resources.memory_limit_bytes",
    set: ({ resources }, value) => void (resources.memoryLimitBytes = memory(value, limits.leastMemoryBytes)),
  },
  "limit-pids": {
    help: "Most processes and threads; 0, -1 or none for no limit (default 4096)",
    value: "N",
    group: "RESOURCES",
    field: "task.resources.pids_limit",
    set: ({ resources }, value) => void (resources.pidsLimit = processes(value)),
  },
  "reserve-cpu": {
    help: "Processor time reserved on the node; a task waits until a node has it free",
    value: "CPUS",
    group: "RESOURCES",
    field: "task.resources.cpu_reservation_nanos",
    set: ({ resources }, value) => void (resources.cpuReservationNanos = processors(value, 1)),
  },
  "reserve-memory": {
    help: "Memory reserved on the node; a task waits until a node has it free",
    value: "SIZE",
    group: "RESOURCES",
    field: "task.resources.memory_reservation_bytes",
    set: ({ resources }, value) => void (resources.memoryReservationBytes = memory(value, 1)),
  },
  ulimit: {
    help: "Limit of each process, such as nofile=1024:4096",
    value: "NAME=SOFT[:HARD]",
    multiple: true,
    group: "RESOURCES",
    field: "task.container.ulimits",
    set: ({ container }, value) => put(container.ulimits, parseUlimit(value), ({ name }) => name),
  },
  "cap-add": {
    help: "Linux capability to add to the default ones; ALL for all",
    value: "CAPABILITY",
    multiple: true,
    group: "SAFETY",
    field: "task.container.capability_add",
    set: (draft, value) => addCapability(draft, draft.container.capabilityAdd, value, "--cap-add"),
  },
  "cap-drop": {
    help: "Linux capability to drop; ALL for all",
    value: "CAPABILITY",
    multiple: true,
    group: "SAFETY",
    field: "task.container.capability_drop",
    set: (draft, value) => addCapability(draft, draft.container.capabilityDrop, value, "--cap-drop"),
  },
  sysctl: {
    help: "Kernel parameter of the container's own, such as net.core.somaxconn=1024",
    value: "KEY=VALUE",
    multiple: true,
    group: "SAFETY",
    field: "task.container.sysctls",
    set: ({ container }, value) => setEntry(container.sysctls, parseKeyValue(value)),
  },
  device: {
    help: "Device of the node, such as /dev/ttyUSB0",
    value: "SOURCE[:TARGET[:rwm]]",
    multiple: true,
    group: "SAFETY",
    field: "task.container.devices",
    set(draft, value) {
      const device = parseDevice(value);
      hold(draft, `the device ${device.target || device.source}`, value);
      put(draft.container.devices, device, ({ source, target }) => target || source);
    },
  },
  "health-http": {
    help: "Health check: an HTTP GET of PORT/PATH that is answered with 2xx or 3xx",
    value: "PORT[/PATH]",
    group: "HEALTH",
    common: true,
    field: "task.container.health_check.http",
    set(draft, value) {
      const [, number = "", path = "/"] = /^(\d+)(\/.*)?$/.exec(value) ?? [];
      if (number === "") throw new UnitError(`'${value}': want PORT or PORT/PATH, as 80/healthz`);
      setProbe(draft, { $case: "http", value: { port: port(number), path } }, "health-http");
    },
  },
  "health-tcp": {
    help: "Health check: PORT takes connections",
    value: "PORT",
    group: "HEALTH",
    field: "task.container.health_check.tcp",
    set: (draft, value) => setProbe(draft, { $case: "tcp", value: { port: port(value) } }, "health-tcp"),
  },
  "health-cmd": {
    help: `Health check: a shell command in the container that exits with 0; ["a", "b"] runs without a shell`,
    value: "COMMAND",
    group: "HEALTH",
    common: true,
    field: "task.container.health_check.exec",
    set: (draft, value) => setProbe(draft, { $case: "exec", value: parseHealthCommand(value) }, "health-cmd"),
  },
  "health-interval": {
    help: "Time between two health checks (default 10s)",
    value: "DURATION",
    group: "HEALTH",
    field: "task.container.health_check.interval_ms",
    set: (draft, value) => void (health(draft).intervalMs = positiveDelay(value)),
  },
  "health-timeout": {
    help: "A health check that takes longer has failed (default 5s)",
    value: "DURATION",
    group: "HEALTH",
    field: "task.container.health_check.timeout_ms",
    set: (draft, value) => void (health(draft).timeoutMs = positiveDelay(value)),
  },
  "health-retries": {
    help: "Failures in a row that make a task unhealthy (default 3)",
    value: "N",
    group: "HEALTH",
    field: "task.container.health_check.retries",
    set: (draft, value) => void (health(draft).retries = bounded(value, 1, 100)),
  },
  "health-start-period": {
    help: "Time after the start in which failures do not count (default 0)",
    value: "DURATION",
    group: "HEALTH",
    field: "task.container.health_check.start_period_ms",
    set: (draft, value) => void (health(draft).startPeriodMs = delay(value)),
  },
  publish: {
    help: "Port of the node that leads to one of the container: 8080:80[/udp], or published=8080,target=80,mode=host",
    value: "PORT",
    char: "p",
    multiple: true,
    group: "NETWORK",
    common: true,
    field: "ports",
    set(draft, value) {
      for (const each of parsePorts(value)) {
        if (each.published !== 0) hold(draft, `port ${publishedName(each)} of the node`, value);
        put(draft.spec.ports, each, portKey);
      }
    },
  },
  network: {
    help: "Network to be on, with ,alias=NAME for more names there (default: the network 'default')",
    value: "NETWORK",
    multiple: true,
    group: "NETWORK",
    common: true,
    field: "task.networks",
    set(draft, value) {
      const attachment = parseNetwork(value);
      hold(draft, `the network ${attachment.network}`, value);
      put(draft.task.networks, attachment, ({ network }) => network);
    },
  },
  "add-host": {
    help: "Line for the container's /etc/hosts",
    value: "NAME:ADDRESS",
    multiple: true,
    group: "NETWORK",
    field: "task.container.extra_hosts",
    set(draft, value) {
      const entry = parseHostEntry(value);
      hold(draft, `the host ${entry[0]}`, value);
      setEntry(draft.container.extraHosts, entry);
    },
  },
  dns: {
    help: "Name server for names that are not the cluster's",
    value: "ADDRESS",
    multiple: true,
    group: "NETWORK",
    field: "task.container.dns.servers",
    set: ({ container }, value) => put((container.dns ??= noDns()).servers, value, (each) => each),
  },
  "dns-search": {
    help: "Domain to search short names in, after the cluster's own",
    value: "DOMAIN",
    multiple: true,
    group: "NETWORK",
    field: "task.container.dns.search",
    set: ({ container }, value) => put((container.dns ??= noDns()).search, value, (each) => each),
  },
  "dns-option": {
    help: "Option of resolv.conf, such as ndots:2",
    value: "OPTION",
    multiple: true,
    group: "NETWORK",
    field: "task.container.dns.options",
    set: ({ container }, value) => put((container.dns ??= noDns()).options, value, (each) => each),
  },
  constraint: {
    help: "Condition that a node must meet, such as 'node.labels.zone == north'",
    value: "EXPRESSION",
    multiple: true,
    group: "PLACEMENT",
    common: true,
    field: "task.placement.constraints",
    set: ({ placement }, value) => put(placement.constraints, value, (each) => each),
  },
  "max-replicas-per-node": {
    help: "Most tasks of the service on one node; 0 for no limit (default 0)",
    value: "N",
    group: "PLACEMENT",
    field: "task.placement.max_replicas_per_node",
    set: ({ placement }, value) => void (placement.maxReplicasPerNode = bounded(value, 0, limits.replicas)),
  },
  "restart-condition": {
    help: "After which end of a task a new one is started (default any)",
    value: "CONDITION",
    group: "RESTART",
    options: Object.keys(conditions),
    field: "task.restart.condition",
    set: ({ restart }, value) => void (restart.condition = conditions[value as keyof typeof conditions]),
  },
  "restart-delay": {
    help: "Time from the end of a task to the start of the next (default 5s)",
    value: "DURATION",
    group: "RESTART",
    field: "task.restart.delay_ms",
    set: ({ restart }, value) => void (restart.delayMs = delay(value)),
  },
  "restart-max-attempts": {
    help: "Most restarts within the window; 0 for no limit (default 0)",
    value: "N",
    group: "RESTART",
    field: "task.restart.max_attempts",
    set: ({ restart }, value) => void (restart.maxAttempts = bounded(value, 0, 1_000_000)),
  },
  "restart-window": {
    help: "Time in which restarts are counted; 0 for ever (default 0)",
    value: "DURATION",
    group: "RESTART",
    field: "task.restart.window_ms",
    set: ({ restart }, value) => void (restart.windowMs = parseDuration(value, limits.windowMs)),
  },
  "log-max-size": {
    help: "Size at which a log file is rotated (default 10m)",
    value: "SIZE",
    group: "LOG",
    field: "task.container.log_rotation.max_file_bytes",
    set({ logRotation }, value) {
      const bytes = parseBytes(value);
      if (bytes < leastLogBytes) throw new UnitError(`'${value}' is too little (least ${formatBytes(leastLogBytes)})`);
      logRotation.maxFileBytes = bytes;
    },
  },
  "log-max-files": {
    help: "Log files kept, the newest included (default 5)",
    value: "N",
    group: "LOG",
    field: "task.container.log_rotation.max_files",
    set: ({ logRotation }, value) => void (logRotation.maxFiles = bounded(value, 1, 1_000)),
  },
  ...rolloutFlags("update"),
  ...rolloutFlags("rollback"),
};

const leastLogBytes = 4_096;

export const switches: Readonly<Record<string, SwitchUse>> = {
  "read-only": {
    help: "Make the container's root file system read-only",
    group: "SAFETY",
    field: "task.container.read_only_root",
    turn: ({ container }, on) => void (container.readOnlyRoot = on),
  },
  "no-new-privileges": {
    help: "Keep processes from gaining privileges, by setuid programs or otherwise",
    group: "SAFETY",
    field: "task.container.no_new_privileges",
    turn: ({ container }, on) => void (container.noNewPrivileges = on),
  },
  init: {
    help: "Run a small init as the first process, which forwards signals and reaps processes",
    group: "CONTAINER",
    field: "task.container.init",
    turn: ({ container }, on) => void (container.init = on),
  },
  tty: {
    help: "Give the container a terminal",
    char: "t",
    group: "CONTAINER",
    field: "task.container.tty",
    turn: ({ container }, on) => void (container.tty = on),
  },
};

/** What `update` can take away again, by key. */
export const removals: Readonly<Record<string, Removal>> = {
  "env-rm": { help: "an environment variable", value: "NAME", take: ({ container }, key) => drop(container.env, key) },
  "label-rm": { help: "a label of the service", value: "KEY", take: ({ spec }, key) => drop(spec.labels, key) },
  "container-label-rm": {
    help: "a label of its containers",
    value: "KEY",
    take: ({ container }, key) => drop(container.labels, key),
  },
  "group-rm": {
    help: "a supplementary group",
    value: "GROUP",
    take: ({ container }, key) => cut(container.groups, (each) => each === key),
  },
  "mount-rm": {
    help: "the mount at a path of the container",
    value: "PATH",
    take: ({ container }, key) => cut(container.mounts, (each) => each.target === key),
  },
  "publish-rm": {
    help: "a published port, by the container's port or as PUBLISHED:TARGET",
    value: "PORT",
    take: ({ spec }, key) => cut(spec.ports, portMatcher(key)),
  },
  "network-rm": {
    help: "a network, by name or id",
    value: "NETWORK",
    take: ({ task }, key) => cut(task.networks, (each) => each.network === key),
  },
  "dns-rm": { help: "a name server", value: "ADDRESS", take: (draft, key) => cutDns(draft, "servers", key) },
  "dns-search-rm": { help: "a search domain", value: "DOMAIN", take: (draft, key) => cutDns(draft, "search", key) },
  "dns-option-rm": {
    help: "an option of resolv.conf",
    value: "OPTION",
    take: (draft, key) => cutDns(draft, "options", key),
  },
  "constraint-rm": {
    help: "a constraint, by its whole text",
    value: "EXPRESSION",
    take: ({ placement }, key) => cut(placement.constraints, (each) => each === key),
  },
  "add-host-rm": {
    help: "a line of /etc/hosts, by its host name",
    value: "NAME",
    take: ({ container }, key) => drop(container.extraHosts, key),
  },
  "device-rm": {
    help: "a device, by its path on the node",
    value: "SOURCE",
    take: ({ container }, key) => cut(container.devices, (each) => each.source === key),
  },
  "sysctl-rm": {
    help: "a kernel parameter",
    value: "KEY",
    take: ({ container }, key) => drop(container.sysctls, key),
  },
  "ulimit-rm": {
    help: "a limit of each process",
    value: "NAME",
    take: ({ container }, key) => cut(container.ulimits, (each) => each.name === key),
  },
  "cap-add-rm": {
    help: "a capability from those added",
    value: "CAPABILITY",
    take: ({ container }, key) => cut(container.capabilityAdd, sameCapability(key)),
  },
  "cap-drop-rm": {
    help: "a capability from those dropped",
    value: "CAPABILITY",
    take: ({ container }, key) => cut(container.capabilityDrop, sameCapability(key)),
  },
};

function addCapability(draft: Draft, list: string[], text: string, flag: string): void {
  const name = capabilityName(text);
  // ALL beside single ones is how Docker's users say "these and no other".
  if (name !== "ALL") hold(draft, `the capability ${name}`, flag);
  put(list, text, capabilityName);
}

function sameCapability(key: string): (text: string) => boolean {
  return (text) => capabilityName(text) === capabilityName(key);
}

function publishedName({ published, protocol }: PortSpec): string {
  return `${published}/${protocol === PortSpec_Protocol.UDP ? "udp" : "tcp"}`;
}

/** A port of the node leads to one place; of those that are drawn, one to each port of the container. */
function portKey(each: PortSpec): string {
  return each.published === 0 ? `${each.target} ${each.protocol} ${each.mode}` : publishedName(each);
}

function drop(record: Record<string, string>, key: string): boolean {
  const had = Object.hasOwn(record, key);
  delete record[key];
  return had;
}

function cut<T>(list: T[], gone: (entry: T) => boolean): boolean {
  const kept = list.filter((entry) => !gone(entry));
  return kept.length < list.splice(0, list.length, ...kept).length;
}

function cutDns({ container }: Draft, part: "servers" | "search" | "options", key: string): boolean {
  return container.dns !== undefined && cut(container.dns[part], (each) => each === key);
}

function noDns(): { servers: string[]; search: string[]; options: string[] } {
  return { servers: [], search: [], options: [] };
}
