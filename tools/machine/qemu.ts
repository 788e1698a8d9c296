/** QEMU as a process: its command line, and its monitor (QMP). */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

export interface QemuOptions {
  readonly kernel: string;
  readonly initrd: string;
  /** The machine's own disk, a qcow2, which holds its snapshots too. */
  readonly disk: string;
  /** A raw image that the machine reads only. */
  readonly warrenDisk: string;
  /** MiB. */
  readonly memory: number;
  readonly processors: number;
  /** The host's ports on loopback → the machine's. */
  readonly ports: ReadonlyMap<number, number>;
  /** Where the console's text goes. */
  readonly console: string;
  readonly monitor: string;
  readonly pidFile: string;
}

/** The arguments of `qemu-system-x86_64`. The machine reaches nothing of the host's network. */
export function qemuArguments(options: QemuOptions): string[] {
  const forwards = [...options.ports].map(([host, guest]) => `,hostfwd=tcp:127.0.0.1:${host}-:${guest}`).join("");
  const settings: readonly (readonly [string, string])[] = [
    ["pidfile", options.pidFile],
    ["display", "none"],
    ["machine", "q35"],
    ["accel", "tcg,thread=multi"],
    ["cpu", "max"],
    ["smp", String(options.processors)],
    ["m", String(options.memory)],
    ["kernel", options.kernel],
    ["initrd", options.initrd],
    ["append", "console=ttyS0 root=/dev/vda rw quiet mitigations=off"],
    ["drive", `file=${escaped(options.disk)},format=qcow2,if=virtio,cache=unsafe`],
    ["drive", `file=${escaped(options.warrenDisk)},format=raw,if=virtio,readonly=on`],
    ["netdev", `user,id=net,restrict=on${forwards}`],
    // An image of a boot program would be one more package to install.
    ["device", "virtio-net-pci,netdev=net,romfile="],
    ["device", "virtio-rng-pci"],
    ["serial", `file:${options.console}`],
    ["qmp", `unix:${escaped(options.monitor)},server=on,wait=off`],
  ];
  return ["-daemonize", "-no-user-config", "-nodefaults", ...settings.flatMap(([name, value]) => [`-${name}`, value])];
}

/** A value within a list that commas separate. */
function escaped(value: string): string {
  return value.replaceAll(",", ",,");
}

interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

/** The monitor of a machine that runs. One command at a time. */
export class Monitor implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  /** @param path of the monitor's socket; where none listens, the error of `connect` */
  static async open(path: string): Promise<Monitor> {
    const socket = connect(path);
    await once(socket, "connect");
    const monitor = new Monitor(socket);
    await monitor.#next(); // Its greeting.
    await monitor.command("qmp_capabilities");
    return monitor;
  }

  /** @returns what the command returned @throws Error where QEMU refuses */
  async command(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const message = await this.#next();
      if (message.event !== undefined) continue;
      if (message.error !== undefined) throw new Error(`QEMU: ${execute}: ${message.error.desc}`);
      return message.return;
    }
  }

  /** Runs a command of the monitor for people, which reports a fault by text. */
  async line(line: string): Promise<void> {
    const said = await this.command("human-monitor-command", { "command-line": line });
    if (typeof said === "string" && said.trim() !== "") throw new Error(`QEMU: ${line}: ${said.trim()}`);
  }

  async #next(): Promise<QmpMessage> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("QEMU has ended");
    return JSON.parse(value) as QmpMessage;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#lines.return?.();
  }
}
