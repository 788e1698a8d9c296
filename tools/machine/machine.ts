/** The emulated machine: from its start to its end, commands in it, and snapshots of it. */
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { finished, freePorts, until, type Finished } from "@warren/std/testing";
import { shellWord } from "../shell-word.ts";
import { buildKey, cache, debianImage, makeWarrenDisk, textOf } from "./image.ts";
import { Monitor, qemuArguments } from "./qemu.ts";

const run = promisify(execFile);

/** Ports of the machine that the host reaches: ssh, the registry, and one that a service may publish. */
const guestPorts = { ssh: 22, registry: 5000, published: 8080 } as const;
export type GuestPort = keyof typeof guestPorts;

/** What a machine can be set back to: its first boot, and what the smoke test makes of it. */
export const moments = { booted: "booted", cluster: "cluster" } as const;

/** How long a boot may take on a busy host, ms. */
const bootLimitMs = 600_000;

interface State {
  readonly sshKey: string;
  /** The host's port of each, on loopback. */
  readonly ports: Readonly<Record<GuestPort, number>>;
}

/** Its disks, monitor and state. */
const directory = join(cache, "machine");

export class Machine {
  readonly #state: State;

  private constructor(state: State) {
    this.#state = state;
  }

  /** This checkout's machine; undefined where it does not run. */
  static async find(): Promise<Machine | undefined> {
    const text = await textOf(join(directory, "state.json"));
    return text === "" ? undefined : new Machine(JSON.parse(text) as State);
  }

  /** Boots it; resolves once it can be logged in to. @throws Error where it runs */
  static async start(log: (text: string) => void): Promise<Machine> {
    if ((await Machine.find()) !== undefined) throw new Error("the machine runs already: end it with tools/vm down");
    const image = await debianImage(log);
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    try {
      log("making the disk with Warren");
      const [disk, warrenDisk] = [join(directory, "disk.qcow2"), join(directory, "warren.img")];
      await makeWarrenDisk(warrenDisk);
      await writeFile(join(directory, "build"), await buildKey());
      await run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk, disk]);
      const [ssh = 0, registry = 0, published = 0] = await freePorts(3);
      const ports = { ssh, registry, published };
      const machine = new Machine({ sshKey: image.sshKey, ports });
      const args = qemuArguments({
        ...image,
        disk,
        warrenDisk,
        memory: 2_048,
        processors: 2,
        ports: new Map(Object.entries(guestPorts).map(([port, guest]) => [ports[port as GuestPort], guest])),
        console: machine.consolePath,
        monitor: machine.#monitorPath,
        pidFile: machine.#pidPath,
      });
      log("booting it");
      // It waits for nobody, and takes what the host's other work leaves.
      await run("nice", ["-n", "15", "qemu-system-x86_64", ...args]);
      await writeFile(join(directory, "state.json"), JSON.stringify(machine.#state));
      await machine.booted();
      // Without Warren's disk, so that one with a later Warren can take its place.
      await machine.ok("umount /opt/warren && echo 3 >/proc/sys/vm/drop_caches");
      await machine.save(moments.booted);
      await machine.ok("mount /opt/warren");
      return machine;
    } catch (error) {
      await new Machine({ sshKey: "", ports: { ssh: 0, registry: 0, published: 0 } }).stop();
      throw error;
    }
  }

  /** What the machine wrote to its console. */
  get consolePath(): string {
    return join(directory, "console.log");
  }

  get #monitorPath(): string {
    return join(directory, "monitor");
  }

  get #pidPath(): string {
    return join(directory, "qemu.pid");
  }

  /** The host's address of one of the machine's ports. */
  address(port: GuestPort): string {
    return `127.0.0.1:${this.#state.ports[port]}`;
  }

  /** The words that run a command in the machine; without a command, a shell. */
  sshCommand(command: readonly string[], options: readonly string[] = []): string[] {
    const { sshKey, ports } = this.#state;
    const settings = {
      StrictHostKeyChecking: "no",
      UserKnownHostsFile: "/dev/null",
      LogLevel: "ERROR",
      ConnectTimeout: "20",
      // One login for all commands: each costs the machine a second of its slow processors.
      ControlMaster: "auto",
      ControlPath: join(directory, "ssh"),
      ControlPersist: "yes",
    };
    const flags = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    const words = command.length === 1 ? [...command] : command.map(shellWord);
    return [
      "ssh",
      "-F",
      "none",
      "-i",
      sshKey,
      "-p",
      String(ports.ssh),
      ...flags,
      ...options,
      "root@127.0.0.1",
      ...words,
    ];
  }

  /** Runs a line of shell in the machine to its end, whatever that is. 255 is ssh's own failure. */
  async sh(line: string, input: string = ""): Promise<Finished> {
    const [program = "", ...args] = this.sshCommand([line]);
    return finished(spawn(program, args, { stdio: "pipe" }), input);
  }

  /** Runs a line of shell that must succeed. @returns what it wrote to stdout */
  async ok(line: string, input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.sh(line, input);
    if (code !== 0) throw new Error(`in the machine, '${line}' ended with ${code}:\n${stdout}${stderr}`);
    return stdout;
  }

  /** Resolves once it can be logged in to, and all units that its boot starts have started or failed. */
  async booted(): Promise<void> {
    await until("the machine lets us log in", async () => (await this.sh("true")).code === 0, bootLimitMs);
    await this.sh("systemctl is-system-running --wait");
  }

  /** Reboots in order; resolves once it is up again. @returns how long the way down took, ms, by the host's clock */
  async reboot(): Promise<number> {
    // The kernel's last line on the console.
    const reboots = async (): Promise<number> =>
      (await textOf(this.consolePath)).split("reboot: Restarting system").length;
    const before = await reboots();
    const begin = performance.now();
    await this.sh("systemctl reboot");
    await this.#endLogin();
    await until("it has gone down", async () => (await reboots()) > before, bootLimitMs);
    const downMs = performance.now() - begin;
    await this.booted();
    return downMs;
  }

  /** The power fails and comes back: what was not on disk is lost to the machine. Resolves once it is up again. */
  async losePower(): Promise<void> {
    await this.#endLogin();
    {
      await using monitor = await Monitor.open(this.#monitorPath);
      await monitor.command("system_reset");
    }
    await this.booted();
  }

  /** Keeps all of the machine, memory and disk, under a name. */
  async save(name: string): Promise<void> {
    await using monitor = await Monitor.open(this.#monitorPath);
    await monitor.line(`savevm ${name}`);
  }

  /** Whether its Warren is what this checkout's last build made. */
  async isCurrent(): Promise<boolean> {
    return (await textOf(join(directory, "build"))) === (await buildKey());
  }

  /** Makes the machine what it was when it had booted, with the Warren of this checkout's last build. */
  async renew(): Promise<void> {
    await this.restore(moments.booted);
    // What was saved with the earlier disk in use can't go on with this one.
    if (await this.hasSaved(moments.cluster)) {
      await using monitor = await Monitor.open(this.#monitorPath);
      await monitor.line(`delvm ${moments.cluster}`);
    }
    const made = join(directory, "new.img");
    await makeWarrenDisk(made);
    // The file that QEMU has open gets what is in the new one.
    await run("dd", [`if=${made}`, `of=${join(directory, "warren.img")}`, "bs=1M", "conv=notrunc"]);
    await rm(made);
    await this.ok("mount /opt/warren");
    await writeFile(join(directory, "build"), await buildKey());
  }

  /** Whether it was saved under a name. */
  async hasSaved(name: string): Promise<boolean> {
    await using monitor = await Monitor.open(this.#monitorPath);
    const table = await monitor.command("human-monitor-command", { "command-line": "info snapshots" });
    return String(table).split(/\s+/).includes(name);
  }

  /** Makes the machine what it was when it was saved. */
  async restore(name: string): Promise<void> {
    await this.#endLogin();
    {
      await using monitor = await Monitor.open(this.#monitorPath);
      await monitor.line(`loadvm ${name}`);
    }
    await until("the machine lets us log in", async () => (await this.sh("true")).code === 0, bootLimitMs);
  }

  /** Ends the machine and removes its disks. */
  async stop(): Promise<void> {
    await this.#endLogin();
    const pid = Number(await textOf(this.#pidPath));
    if (pid > 1 && (await textOf(`/proc/${pid}/cmdline`)).includes(this.#monitorPath)) {
      process.kill(pid, "SIGKILL");
      await until("QEMU has ended", () => !existsSync(`/proc/${pid}`));
    }
    await rm(directory, { recursive: true, force: true });
  }

  /** Ends the connection that all commands share. */
  async #endLogin(): Promise<void> {
    if (!existsSync(join(directory, "ssh"))) return;
    const [program = "", ...args] = this.sshCommand([], ["-O", "exit"]);
    await run(program, args).catch(() => undefined);
    await rm(join(directory, "ssh"), { force: true });
  }
}
