import { mkdir, readFile, readdir, rmdir, writeFile } from "node:fs/promises";
import { constants, existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { delay, serially, systemClock, type Clock } from "@warren/std";
import type { ContainerStats } from "@warren/runtime";
import { signalProcess } from "./orphan-processes.ts";

/** What one cgroup version keeps where. Paths are those of the container's cgroup under `root`. */
interface Layout {
  stats(): Promise<ContainerStats | undefined>;
  /** How often the kernel ended something in it for want of memory. */
  oomKills(): Promise<number>;
}

/** One core's worth: of version 1's shares, and of version 2's weight. Any other cgroup on a machine has this. */
const coreShares = 1_024;
const coreWeight = 100;
/** The kernel's least and most. */
const shares = { least: 2, most: 262_144 };
const weight = { least: 1, most: 10_000 };

function within({ least, most }: { readonly least: number; readonly most: number }, value: number): number {
  return Math.min(most, Math.max(least, Math.round(value)));
}

/**
 * The weight of a container, in OCI's words: what it reserves, and the least there is where it reserves nothing, so that
 * nobody takes from a reservation by not having one. Version 2's is written as it is, since runc's way from shares to
 * weights differs by its version and is not proportional. What nobody asked for is not asked of a kernel without it.
 */
export function cpuWeights(
  { version, controllers }: Pick<Cgroups, "version" | "controllers">,
  cores: number | undefined,
): { readonly cpu: object; readonly more: object } {
  if (cores === undefined && !controllers.has("cpu")) return { cpu: {}, more: {} };
  return weightsOf(version, cores ?? 0);
}

function weightsOf(version: 1 | 2, cores: number): { readonly cpu: object; readonly more: object } {
  if (version === 1) return { cpu: { shares: within(shares, cores * coreShares) }, more: {} };
  return { cpu: {}, more: { unified: { "cpu.weight": String(within(weight, cores * coreWeight)) } } };
}

/** Looks for what a process has started, until there is nothing; one that forks faster than this is ended with its container. */
const mostRounds = 20;

/** Before what was ended is looked for again, ms. */
const endedMs = 10;
/** The kernel's word for no limit is a number near the top of 64 bits, by version of the kernel. */
const noLimit = 2 ** 60;

/**
 * The cgroup of a container, of either version, read as files. containerd's `Tasks.Metrics` reads the same and sends
 * it in two forms by version; the files are there while containerd is away, and after the end of the process, which is
 * when the count of memory kills is asked for.
 */
export class Cgroups {
  /** Where the kernel's tree is mounted. */
  readonly #root: string;
  readonly #serially: ReturnType<typeof serially> = serially();
  #prepared: string | undefined;
  readonly version: 1 | 2;
  /** Those that this kernel has, which may lack any: memory's is switched off on many small boards. */
  readonly controllers: ReadonlySet<string>;

  constructor(root: string = "/sys/fs/cgroup") {
    this.#root = root;
    const unified = join(root, "cgroup.controllers");
    this.version = existsSync(unified) ? 2 : 1;
    const names = this.version === 2 ? readFileSync(unified, "utf8").trim().split(/\s+/) : readdirSync(root);
    this.controllers = new Set(names);
  }

  /** Whether a limit can count swap; a kernel may be built or booted without. */
  get limitsSwap(): boolean {
    return this.version === 2 || existsSync(join(this.#root, "memory/memory.memsw.limit_in_bytes"));
  }

  /** Undefined where there is no such cgroup. */
  stats(path: string): Promise<ContainerStats | undefined> {
    return this.#layout(path).stats();
  }

  async outOfMemory(path: string): Promise<boolean> {
    return (await this.#layout(path).oomKills()) > 0;
  }

  /**
   * Makes the cgroup that all containers are under, and gives it what it promises them: of version 2, no child has more
   * than its parent. Its weight is that of all cores, so the machine's own services, one core's worth each, are neither
   * starved nor able to starve it; its protected memory is the sum of what its containers reserve.
   */
  prepareParent(path: string, cores: number): Promise<void> {
    return this.#serially(async () => {
      if (this.#prepared === path) return;
      this.#prepared = path;
      if (this.version === 1) {
        for (const controller of ["cpu", "memory"])
          await mkdir(join(this.#root, controller, path), { recursive: true });
        await write(join(this.#root, "cpu", path, "cpu.shares"), within(shares, cores * coreShares));
        return;
      }
      await mkdir(join(this.#root, path), { recursive: true });
      // A controller that the kernel lacks is refused with all others, so one at a time.
      for (const controller of ["cpu", "memory", "pids", "io"])
        for (const folder of ["", path])
          await write(join(this.#root, folder, "cgroup.subtree_control"), `+${controller}`);
      await write(join(this.#root, path, "cpu.weight"), within(weight, cores * coreWeight));
      await this.#protect(path);
    });
  }

  /** To be called after a container below `path` came or went. */
  async reservationsChanged(path: string): Promise<void> {
    if (this.version === 2) await this.#serially(() => this.#protect(path));
  }

  async #protect(path: string): Promise<void> {
    const parent = join(this.#root, path);
    const children = (await readdir(parent, { withFileTypes: true }).catch(none)) ?? [];
    const low = children
      .filter((child) => child.isDirectory())
      .map(({ name }) => number(join(parent, name, "memory.low")));
    const sum = (await Promise.all(low)).reduce((total: number, bytes) => total + (bytes ?? 0), 0);
    await write(join(parent, "memory.low"), sum);
  }

  /**
   * Ends a process of a container, with all that descends from it or is of its session. What it started is ended with it
   * however it forks meanwhile; what made itself a session of its own and lost its parent is not found.
   *
   * @param leader by its number on this machine
   */
  async endSession(path: string, leader: number): Promise<void> {
    // Stopped first, all of them, so that none starts another while its parent is ended: that one would be no kin.
    const stopped = new Set<number>();
    for (let round = 0; round < mostRounds; round += 1) {
      const found = await Promise.all((await this.#processes(path)).map(kinOf));
      const alive = found.filter((one) => one !== undefined);
      const kin = new Set([leader]);
      for (let before = 0; before < kin.size;) {
        before = kin.size;
        for (const { pid, parent, session } of alive) if (session === leader || kin.has(parent)) kin.add(pid);
      }
      const running = alive.filter(({ pid }) => kin.has(pid) && !stopped.has(pid));
      if (running.length === 0) break;
      for (const { pid } of running) {
        signalProcess(pid, "SIGSTOP");
        stopped.add(pid);
      }
    }
    for (const pid of stopped) signalProcess(pid, "SIGKILL");
  }

  async hasProcesses(path: string): Promise<boolean> {
    return (await this.#processes(path)).length > 0;
  }

  /** Ends all that is left in a container's cgroup; resolves when the kernel has none of it any more. */
  async endAll(path: string): Promise<void> {
    for (let round = 0; round < mostRounds; round += 1) {
      const left = await this.#processes(path);
      if (left.length === 0) return;
      for (const pid of left) signalProcess(pid, "SIGKILL");
      // A process that was ended stays until its pages have gone; version 1 has no event for an empty cgroup.
      await delay(systemClock, endedMs);
    }
  }

  /**
   * Ends runc's own first step of processes that are to join a container and never get further, until `over` aborts:
   * what runc reads of the container can be made to hold it up. A step takes milliseconds; one that was there `graceMs`
   * ago is stuck. The step may not have begun yet when this is called, so one look would not do.
   */
  async endStuckJoins(path: string, clock: Clock, graceMs: number, over: AbortSignal): Promise<void> {
    const joining = async (): Promise<number[]> => {
      const names = await Promise.all(
        (await this.#processes(path)).map(async (pid) => ({ pid, name: (await lines(`/proc/${pid}/comm`))[0] })),
      );
      return names.filter(({ name }) => name?.startsWith("runc:[")).map(({ pid }) => pid);
    };
    let before = new Set<number>();
    while (!over.aborted) {
      const now = await joining();
      for (const pid of now) if (before.has(pid)) signalProcess(pid, "SIGKILL");
      before = new Set(now);
      await delay(clock, graceMs, over).catch(() => undefined);
    }
  }

  /** The processes of a container, those of cgroups that it made itself too. */
  async #processes(path: string): Promise<number[]> {
    // A container is in the tree of every controller of version 1.
    const some = ["pids", "memory", "cpu", "devices"].find((name) => this.controllers.has(name)) ?? "systemd";
    const tree = this.version === 2 ? this.#root : join(this.#root, some);
    const below = async (folder: string): Promise<number[]> => {
      const [pids, children] = await Promise.all([
        lines(join(folder, "cgroup.procs")),
        readdir(folder, { withFileTypes: true }).catch(none),
      ]);
      const folders = children?.filter((child) => child.isDirectory()) ?? [];
      const inner = await Promise.all(folders.map(({ name }) => below(join(folder, name))));
      return [...pids.filter((pid) => /^\d+$/.test(pid)).map(Number), ...inner.flat()];
    };
    return below(join(tree, path));
  }

  /** Ends what a killed runtime left below `path` and is not kept, and removes its cgroups. */
  async removeLeftovers(path: string, keep: (name: string) => boolean): Promise<void> {
    if (this.#prepared !== undefined && path === "" && !keep(this.#prepared)) this.#prepared = undefined;
    const trees =
      this.version === 2 ? [this.#root] : (await readdir(this.#root)).map((controller) => join(this.#root, controller));
    for (const tree of trees) {
      const parent = join(tree, path);
      const children = await readdir(parent, { withFileTypes: true }).catch(none);
      for (const child of children ?? []) {
        if (!child.isDirectory() || keep(child.name)) continue;
        const cgroup = join(parent, child.name);
        for (const pid of await lines(join(cgroup, "cgroup.procs")))
          if (/^\d+$/.test(pid)) signalProcess(Number(pid), "SIGKILL");
        // EBUSY: what was ended has not gone yet; the next call finds it empty.
        await rmdir(cgroup).catch(none);
      }
    }
  }

  #layout(path: string): Layout {
    return this.version === 2
      ? unified((file) => join(this.#root, path, file))
      : separate((controller, file) => join(this.#root, controller, path, file));
  }
}

function unified(at: (file: string) => string): Layout {
  return {
    async stats() {
      const cpu = await table(at("cpu.stat"));
      const memory = await number(at("memory.current"));
      if (cpu === undefined || memory === undefined) return undefined;
      const io = await lines(at("io.stat"));
      const sum = (key: string): bigint =>
        io.reduce((total, line) => total + BigInt(new RegExp(`\\b${key}=(\\d+)`).exec(line)?.[1] ?? 0), 0n);
      return {
        cpuUsageNs: (cpu.get("usage_usec") ?? 0n) * 1_000n,
        memoryBytes: Math.max(0, memory - Number((await table(at("memory.stat")))?.get("inactive_file") ?? 0n)),
        memoryLimitBytes: limit(await number(at("memory.max"))),
        pids: (await number(at("pids.current"))) ?? 0,
        readBytes: sum("rbytes"),
        writeBytes: sum("wbytes"),
      };
    },
    oomKills: async () => Number((await table(at("memory.events")))?.get("oom_kill") ?? 0n),
  };
}

function separate(at: (controller: string, file: string) => string): Layout {
  return {
    async stats() {
      const [cpu] = await lines(at("cpuacct", "cpuacct.usage"));
      const memory = await number(at("memory", "memory.usage_in_bytes"));
      if (cpu === undefined || memory === undefined) return undefined;
      const io = await lines(at("blkio", "blkio.throttle.io_service_bytes"));
      const sum = (kind: string): bigint =>
        io.reduce((total, line) => total + BigInt(new RegExp(`^\\S+ ${kind} (\\d+)`).exec(line)?.[1] ?? 0), 0n);
      const inactive = (await table(at("memory", "memory.stat")))?.get("total_inactive_file") ?? 0n;
      return {
        cpuUsageNs: BigInt(cpu),
        memoryBytes: Math.max(0, memory - Number(inactive)),
        memoryLimitBytes: limit(await number(at("memory", "memory.limit_in_bytes"))),
        pids: (await number(at("pids", "pids.current"))) ?? 0,
        readBytes: sum("Read"),
        writeBytes: sum("Write"),
      };
    },
    oomKills: async () => Number((await table(at("memory", "memory.oom_control")))?.get("oom_kill") ?? 0n),
  };
}

interface Kin {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
}

/** Undefined for a container that has ended, also if its exit was not read yet. */
async function kinOf(pid: number): Promise<Kin | undefined> {
  const [text = ""] = await lines(`/proc/${pid}/stat`);
  // Its name, in brackets, may have anything in it.
  const [state, parent, , session] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (parent === undefined || session === undefined || state === "Z" || state === "X") return undefined;
  return { pid, parent: Number(parent), session: Number(session) };
}

function limit(bytes: number | undefined): number | undefined {
  return bytes === undefined || bytes >= noLimit ? undefined : bytes;
}

/** Tells the kernel; what it has no such file for, or does not take, it does not do. */
async function write(path: string, value: number | string): Promise<void> {
  const flag = constants.O_WRONLY | constants.O_TRUNC;
  await writeFile(path, String(value), { flag }).catch(none);
}

async function lines(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch(none);
  return text === undefined ? [] : text.trim().split("\n");
}

/** `max` is no number. */
async function number(path: string): Promise<number | undefined> {
  const [text] = await lines(path);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

async function table(path: string): Promise<Map<string, bigint> | undefined> {
  const rows = (await lines(path)).flatMap((line) => {
    const [, key, value] = /^(\S+) (\d+)$/.exec(line) ?? [];
    return key === undefined || value === undefined ? [] : [[key, BigInt(value)] as const];
  });
  return rows.length === 0 ? undefined : new Map(rows);
}

/** The cgroup went while it was read (ENODEV), or is not there, or is in use. */
function none(error: NodeJS.ErrnoException): undefined {
  if (["ENOENT", "ENOTDIR", "ENODEV", "ESRCH", "EBUSY", "ENOTEMPTY", "EOPNOTSUPP", "EINVAL"].includes(error.code ?? ""))
    return undefined;
  throw error;
}
