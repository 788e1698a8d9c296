/** Ports of a task on this machine. */
import { Args, Flags } from "@oclif/core";
import { listenForTask, parsePorts, type ForwardedPort } from "../port-forward.ts";
import { taskOf } from "../task-target.ts";
import { UnitError } from "../units.ts";
import { CommandFailed, WarrenCommand } from "../warren-command.ts";

export class PortForward extends WarrenCommand {
  static override summary = "Reach ports of a task from this machine, published or not.";
  static override description =
    "Connections go over the manager and the task's node to the container's own loopback. Of a service, a task that runs is taken, and its name is said; with the task's end the connections end.";
  static override usage = "port-forward TASK|SERVICE [LOCAL:]PORT… [--address ADDRESS]";
  static override examples = [
    "<%= config.bin %> port-forward db 5432",
    "<%= config.bin %> port-forward web.2 8080:80 8443:443",
    "<%= config.bin %> port-forward web :80",
  ];
  static override strict = false;
  static override args = {
    task: Args.string({ required: true, description: "Service, or task as SERVICE.SLOT or id" }),
    ports: Args.string({
      required: true,
      description: "Port here and in the container: 8080:80, 80 for both, :80 for any here",
    }),
  };
  static override flags = {
    address: Flags.string({
      description: "Address of this machine to listen on",
      default: "127.0.0.1",
      helpValue: "ADDRESS",
    }),
  };
  static override fieldWords = { "open.ref": "TASK", "open.port": "PORT" };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(PortForward);
    const [ref = "", ...words] = argv as string[];
    const ports = parsePorts(words);
    const client = await this.connect(flags.host);
    const target = await taskOf(client, ref);
    // A name that is wrong is refused before anything connects.
    await client.tasks.get({ ref: target.id });
    const signal = this.interrupted;
    const warn = (text: string): void => void process.stderr.write(`${text}\n`);
    const opened: ForwardedPort[] = [];
    try {
      for (const port of ports)
        opened.push(await listenForTask(client, target.id, port, flags.address, warn).catch(notListening(port.local)));
      for (const { text } of opened) process.stdout.write(`${text} -> ${target.name}\n`);
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    } finally {
      for (const each of opened) each.close();
    }
  }
}

function notListening(port: number): (error: unknown) => never {
  return (error) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE")
      throw new CommandFailed(`port ${port} of this machine is in use: name another, or :PORT for any`);
    if (code === "EACCES") throw new CommandFailed(`port ${port} of this machine needs root: name one from 1024 on`);
    if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
      throw new UnitError("--address: this machine has no such address");
    throw error;
  };
}
