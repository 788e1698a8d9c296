/** The smoke test's machine, with a cluster in it. */
import { pushImage, type ImageContents } from "@warren/runtime-containerd/testing";
import { until } from "@warren/std/testing";
import { shellWord } from "../../shell-word.ts";
import { Machine, moments } from "../machine.ts";

/** The image of all services: busybox, and a server that names its task. Its /srv is a directory of mode 755. */
export const image = "127.0.0.1:5000/box:1";

const contents: ImageContents = {
  config: {
    Cmd: ["sh", "-c", "mkdir -p /www && hostname >/www/index.html && echo serving && exec httpd -f -p 80 -h /www"],
  },
  files: { "srv/here": "in the image" },
};

/** How long anything may take that a person would wait for, ms: the machine is slow. */
export const patienceMs = 600_000;

/** The machine as it was at a moment. */
export async function machineAt(moment: keyof typeof moments): Promise<Machine> {
  const machine = await Machine.find();
  if (machine === undefined) throw new Error("the machine does not run");
  await machine.restore(moments[moment]);
  if (moment === "booted") await machine.ok("mount /opt/warren");
  return machine;
}

export const initCommand =
  'warren cluster init --timeout 15m --worker-flags "--image-grace 2h" --manager-flags "--log-level info"';

/** Makes the cluster, and pushes and runs its image once, so that later services need not pull it. */
export async function prepareCluster(machine: Machine): Promise<void> {
  const host = machine.address("registry");
  const registry = { host, auth: undefined, [Symbol.asyncDispose]: () => Promise.resolve() };
  await until("the machine's registry answers", () => answers(`http://${host}/v2/`), patienceMs);
  await pushImage(registry, "box:1", contents);
  await machine.ok(initCommand);
  await create(machine, "web", "--replicas", "2", "-p", "8080:80", "--restart-condition", "none");
}

/** Creates a service of the image, and waits until it runs, unless `--detach` is among the flags. */
export async function create(machine: Machine, name: string, ...flags: readonly string[]): Promise<void> {
  const [own, command] = split(flags);
  const words = ["warren", "service", "create", name, "--image", image, ...own, ...command];
  const { code, stderr } = await machine.sh(words.map(shellWord).join(" "));
  if (code === 0) return;
  // On a busy host a call may take longer than the command line waits; what it asked for is done all the same.
  if (!stderr.includes("did not respond in time")) throw new Error(`${words.join(" ")} ended with ${code}: ${stderr}`);
  const isDone = async (): Promise<boolean> => {
    const list = await machine.sh("warren service list");
    const line = list.stdout.split("\n").find((each) => each.startsWith(`${name} `));
    return line !== undefined && (own.includes("--detach") || /\s(\d+)\/\1\s/.test(line));
  };
  await until(`service ${name} runs`, isDone, patienceMs);
}

function split(flags: readonly string[]): [readonly string[], readonly string[]] {
  const at = flags.indexOf("--");
  return at === -1 ? [flags, []] : [flags.slice(0, at), flags.slice(at)];
}

export interface TaskSeen {
  readonly id: string;
  readonly slot: string;
  readonly current: boolean;
  readonly state: string;
  readonly code: string;
  readonly message: string;
  readonly pid: number;
}

interface TaskJson {
  readonly meta: { readonly id: string };
  readonly current?: boolean;
  readonly slot?: { readonly serviceName?: string; readonly slot?: unknown };
  readonly status?: {
    readonly state?: string;
    readonly code?: string;
    readonly message?: string;
    readonly container?: { readonly pid?: number };
  };
}

/** What a command of the command line that only reads prints; asked again while no manager answers. */
export function read(machine: Machine, command: string): Promise<string> {
  return until(
    `'warren ${command}' is answered`,
    async () => {
      const { code, stdout } = await machine.sh(`warren ${command}`);
      return code === 0 && stdout;
    },
    patienceMs,
  );
}

/** A service's tasks, with those that have ended. */
export async function tasks(machine: Machine, service: string): Promise<readonly TaskSeen[]> {
  const text = await read(machine, `service tasks ${service} -o json`);
  const { tasks = [] } = JSON.parse(text) as { readonly tasks?: readonly TaskJson[] };
  return tasks.map(({ meta, slot, current = false, status = {} }) => ({
    id: meta.id,
    slot: JSON.stringify(slot),
    current,
    state: (status.state ?? "").replace("TASK_STATE_", ""),
    code: status.code ?? "",
    message: status.message ?? "",
    pid: status.container?.pid ?? 0,
  }));
}

/** Process ids of a service's tasks that run, sorted: they change where a task was ended or replaced. */
export async function pids(machine: Machine, service: string): Promise<readonly number[]> {
  const seen = await tasks(machine, service);
  return seen
    .filter(({ pid }) => pid > 0)
    .map(({ pid }) => pid)
    .toSorted((a, b) => a - b);
}

/**
 * Waits until both daemons are ready and a service has this many tasks that run. It looks at the daemons' own ports and
 * at cgroups until then: a command of the command line costs the machine's processors seconds.
 *
 * @param all that run on the machine then
 */
export async function untilRunning(
  machine: Machine,
  service: string,
  count: number,
  all: number = count,
): Promise<readonly TaskSeen[]> {
  await ready(machine);
  const populated = "grep -l 'populated 1' /sys/fs/cgroup/warren/*/cgroup.events | wc -l";
  await until(`${all} tasks run`, async () => Number((await machine.sh(populated)).stdout) >= all, patienceMs);
  return until(
    `${count} of ${service} run`,
    async () => {
      const running = (await tasks(machine, service)).filter(({ state }) => state === "RUNNING");
      return running.length === count && running;
    },
    patienceMs,
  );
}

/** Waits until both daemons say that they are ready. */
export async function ready(machine: Machine): Promise<void> {
  const line = "curl -sf 127.0.0.1:9090/readyz && curl -sf 127.0.0.1:9091/readyz";
  await until("both daemons are ready", async () => (await machine.sh(line)).code === 0, patienceMs);
}

/** Whether something answers an HTTP request at all. */
export async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(20_000) }).then(
    ({ ok }) => ok,
    () => false,
  );
}
