import { Args, Flags } from "@oclif/core";
import { ListTasksResponse, Task } from "@warren/api";
import { toJson } from "@warren/api/json";
import { runExec } from "../exec.ts";
import { followLogs, logFlags } from "../logs.ts";
import { pages } from "../pages.ts";
import { parseEnvironment } from "../service/env-file.ts";
import { UnitError } from "../units.ts";
import { taskColumns } from "../views.ts";
import { inspectFlag, outputFlag, WarrenCommand } from "../warren-command.ts";
import { hostnames } from "./node.ts";

const taskArg = { task: Args.string({ required: true, description: "SERVICE.SLOT, id or unique id prefix" }) };

export class TaskList extends WarrenCommand {
  static override summary = "List tasks, the ended ones that are kept included.";
  static override flags = {
    ...outputFlag,
    service: Flags.string({ multiple: true, description: "only of this service" }),
    node: Flags.string({ multiple: true, description: "only on this node" }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(TaskList);
    const client = await this.connect(flags.host);
    const filter = { services: flags.service ?? [], nodes: flags.node ?? [] };
    const tasks = await pages(
      (page) => client.tasks.list({ page, ...filter }),
      (answer) => answer.tasks,
    );
    await this.print(flags.output, {
      rows: tasks,
      columns: taskColumns(Date.now(), await hostnames(client)),
      name: ({ meta }) => meta?.id ?? "",
      json: () => toJson(ListTasksResponse, { tasks, nextPageToken: "" }),
    });
  }
}

export class TaskInspect extends WarrenCommand {
  static override summary = "Show a task in full.";
  static override args = taskArg;
  static override flags = inspectFlag;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(TaskInspect);
    const client = await this.connect(flags.host);
    const task = await client.tasks.get({ ref: args.task });
    await this.print(flags.output, {
      rows: [task],
      columns: taskColumns(Date.now(), await hostnames(client)),
      name: ({ meta }) => meta?.id ?? "",
      json: () => toJson(Task, task),
    });
  }
}

export class TaskLogs extends WarrenCommand {
  static override summary = "Print what a task wrote.";
  static override args = taskArg;
  static override flags = logFlags;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(TaskLogs);
    await followLogs(await this.connect(flags.host), args.task, flags, this.interrupted);
  }
}

export class TaskExec extends WarrenCommand {
  static override summary = "Run a command in a task's container; its exit code becomes ours.";
  static override usage = "task exec [-it] TASK [--env K=V] [--user U] [--workdir D] -- COMMAND…";
  static override examples = ["<%= config.bin %> task exec -it web.1 -- sh"];
  static override strict = false;
  static override args = taskArg;
  static override flags = {
    interactive: Flags.boolean({ char: "i", description: "pass stdin on" }),
    tty: Flags.boolean({ char: "t", description: "with a terminal" }),
    env: Flags.string({
      char: "e",
      multiple: true,
      description: "Environment variable; NAME alone passes on the value from here",
      helpValue: "NAME=VALUE",
    }),
    user: Flags.string({ char: "u", description: "user or uid, with :group or :gid" }),
    workdir: Flags.string({ char: "w", description: "working directory" }),
  };
  static override fieldWords = {
    "open.ref": "TASK",
    "open.command": "COMMAND",
    "open.env": "--env",
    "open.working_dir": "--workdir",
    "open.user": "--user",
  };

  async run(): Promise<void> {
    const { own, rest } = this.splitArgv();
    const { args, flags, argv } = await this.parse(TaskExec, own);
    const command = rest ?? (argv as string[]).slice(1);
    if (command.length === 0) throw new UnitError("which command? give it after --, as: task exec web.1 -- ls /");
    if (flags.tty && !process.stdin.isTTY) {
      throw new UnitError("-t needs a terminal, and stdin is none: leave it out");
    }
    const exitCode = await runExec(await this.connect(flags.host), {
      ref: args.task,
      command,
      env: Object.fromEntries((flags.env ?? []).map((text) => parseEnvironment(text, process.env))),
      user: flags.user ?? "",
      workingDir: flags.workdir ?? "",
      tty: flags.tty,
      interactive: flags.interactive,
    });
    process.exitCode = exitCode;
  }
}
