import { Args, Flags } from "@oclif/core";
import { ListTasksResponse, ObjectKind, Task } from "@warren/api";
import { toJson } from "../json.ts";
import { runExec } from "../exec.ts";
import { followLogs, logFlags } from "../logs.ts";
import { watchedListFlags } from "../list-output.ts";
import { pages } from "../pages.ts";
import { parseEnvironment } from "../service/env-file.ts";
import { taskOf } from "../task-target.ts";
import { UnitError } from "../units.ts";
import { taskColumns } from "../views.ts";
import { inspectFlag, WarrenCommand } from "../warren-command.ts";
import { hostnames } from "../hostnames.ts";

const taskArg = {
  task: Args.string({
    required: true,
    description: "Task as SERVICE.SLOT (web.1 is the first of service web), or its id",
  }),
};

export class TaskList extends WarrenCommand {
  static override summary = "List tasks, and the last ones that ended.";
  static override flags = {
    ...watchedListFlags,
    service: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: "Only tasks of this service",
      helpValue: "SERVICE",
    }),
    node: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: "Only tasks on this node",
      helpValue: "NODE",
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(TaskList);
    const client = await this.connect(flags.host);
    const filter = { services: flags.service ?? [], nodes: flags.node ?? [] };
    await this.showList(client, flags, [ObjectKind.TASK], async () => {
      const tasks = await pages(
        (page) => client.tasks.list({ page, ...filter }),
        (answer) => answer.tasks,
      );
      return {
        rows: tasks,
        columns: taskColumns(Date.now(), await hostnames(client)),
        name: ({ meta }) => meta?.id ?? "",
        json: () => toJson(ListTasksResponse, { tasks, nextPageToken: "" }),
      };
    });
  }
}

export class TaskInspect extends WarrenCommand {
  static override summary = "Show all fields of a task.";
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
  static override summary = "Print the log of a task.";
  static override args = taskArg;
  static override flags = logFlags;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(TaskLogs);
    await followLogs(await this.connect(flags.host), args.task, flags, this.interrupted);
  }
}

export class TaskExec extends WarrenCommand {
  static override summary = "Run a command in a task's container; exit with its exit code.";
  static override usage = "task exec [-it] [FLAGS] TASK|SERVICE COMMAND…";
  static override description = "Given a service, it takes one of its running tasks and says which.";
  static override examples = ["<%= config.bin %> task exec -it web.1 sh", "<%= config.bin %> exec web ls -l /"];
  static override strict = false;
  static override args = taskArg;
  static override flags = {
    interactive: Flags.boolean({ char: "i", description: "Pass stdin to the command" }),
    tty: Flags.boolean({ char: "t", description: "Give the command a terminal" }),
    env: Flags.string({
      char: "e",
      multiple: true,
      multipleNonGreedy: true,
      description: "Environment variable; NAME alone takes its value from this shell",
      helpValue: "NAME=VALUE",
    }),
    user: Flags.string({
      char: "u",
      description: "User to run as, by name or number, with :GROUP if need be",
      helpValue: "USER",
    }),
    workdir: Flags.string({ char: "w", description: "Working directory in the container", helpValue: "PATH" }),
  };
  static override fieldWords = {
    "open.ref": "TASK",
    "open.command": "COMMAND",
    "open.env": "--env",
    "open.working_dir": "--workdir",
    "open.user": "--user",
  };

  async run(): Promise<void> {
    const { own, command } = splitExec(this.argv);
    const { args, flags } = await this.parse(TaskExec, own);
    if (command.length === 0) throw new UnitError("a command is required after the task, as: exec web.1 ls /");
    if (flags.tty && !process.stdin.isTTY) {
      throw new UnitError("-t needs a terminal, and stdin is not one: leave it out");
    }
    const client = await this.connect(flags.host);
    const exitCode = await runExec(client, {
      ref: (await taskOf(client, args.task)).id,
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

/** Flags of `task exec` that have a value. */
const valueFlags = new Set(["-e", "--env", "-u", "--user", "-w", "--workdir", "--host"]);

/**
 * The flags and the task, and the command for the container, which needs no `--`: it begins with the first word after the
 * task that is no flag of ours. Pure.
 */
export function splitExec(argv: readonly string[]): { readonly own: string[]; readonly command: string[] } {
  const dashes = argv.indexOf("--");
  const own: string[] = [];
  let hasTask = false;
  let at = 0;
  for (; at < argv.length && at !== dashes; at += 1) {
    const word = argv[at] ?? "";
    const isFlag = word.startsWith("-") && word !== "-";
    if (!isFlag && hasTask) break;
    hasTask ||= !isFlag;
    own.push(word);
    if (isFlag && valueFlags.has(word) && at + 1 < argv.length) own.push(argv[(at += 1)] ?? "");
  }
  return { own, command: argv.slice(at === dashes ? at + 1 : at) };
}
