/** One task that is looked at from its start to its end. */
import { randomBytes } from "node:crypto";
import { Args, Flags } from "@oclif/core";
import { ApiError, RestartPolicy, RestartPolicy_Condition, ServiceSpec, TaskState, type Task } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { hasEnded, stateOf, taskStateText } from "@warren/api/model";
import { followLogs } from "../logs.ts";
import { printable } from "../output.ts";
import {
  applyServiceFlags,
  commonServiceFlags,
  noHealthcheckFlag,
  serviceFieldWords,
  serviceFlags,
} from "../service/service-flags.ts";
import { splitAtCommand } from "../service/split-run.ts";
import { CommandFailed, WarrenCommand } from "../warren-command.ts";

/** Docker's, for a container that could not be made. */
const exitNotStarted = 125;
/** 128 + SIGINT. */
const exitInterrupted = 130;

/** Flags that mean nothing for a task that is neither started again nor updated. */
const isForLongLife = (name: string): boolean => /^(restart|update|rollback)-/.test(name);
const taskFlags = Object.fromEntries(Object.entries(serviceFlags).filter(([name]) => !isForLongLife(name)));

export class Run extends WarrenCommand {
  static override summary = "Run one task of an image to its end, and exit with its exit code.";
  static override description =
    "It is a service of one task that is not started again. Its output is shown as it comes; Ctrl-C stops it. For a shell: 'warren exec -it SERVICE sh' in a service that runs.";
  static override usage = "run [--rm] [FLAGS] IMAGE [COMMAND…]";
  static override examples = [
    "<%= config.bin %> run --rm busybox nslookup web",
    "<%= config.bin %> run --rm --env-file db.env --mount src=db,dst=/data postgres:17 pg_dumpall",
  ];
  static override strict = false;
  static override args = { image: Args.string({ required: true, description: "Image to run, such as nginx:1.27" }) };
  static override flags = {
    ...taskFlags,
    ...noHealthcheckFlag,
    rm: Flags.boolean({ description: "Delete the service once its task has ended" }),
    name: Flags.string({ description: "Name of the service (default: run- and a random word)", helpValue: "NAME" }),
  };
  static override commonFlags = ["rm", "name", ...commonServiceFlags.slice(1)];
  static override fieldWords = { ...serviceFieldWords, "spec.name": "--name", "spec.task.container.image": "IMAGE" };

  async run(): Promise<void> {
    const { own, command } = splitAtCommand(this.argv, { ...Run.baseFlags, ...Run.flags });
    const { args, flags } = await this.parse(Run, own);
    const client = await this.connect(flags.host);
    const name = flags.name ?? `run-${randomBytes(4).toString("hex")}`;
    const blank = ServiceSpec.fromPartial({
      name,
      mode: { $case: "replicated", value: { replicas: 1 } },
      task: { container: { image: args.image } },
    });
    const spec = applyServiceFlags(blank, flags, command.length === 0 ? undefined : command);
    if (spec.task !== undefined)
      spec.task.restart = RestartPolicy.fromPartial({ condition: RestartPolicy_Condition.NONE });
    const { interrupted } = this;
    const service = await client.services.create({ spec });
    const id = service.meta?.id ?? "";
    try {
      process.exitCode = await this.#attend(client, id, name, interrupted);
    } finally {
      // Its tasks stop, whatever they do.
      if (flags.rm) await client.services.delete({ ref: id });
      else if (interrupted.aborted) await client.services.scale({ ref: id, replicas: 0 });
    }
  }

  /** Shows what the task prints. @returns its exit code */
  async #attend(client: ApiClient, service: string, name: string, interrupted: AbortSignal): Promise<number> {
    let output: Promise<void> | undefined;
    const show = (task: Task): void => {
      const flags = { follow: true, timestamps: false, "no-names": true, previous: false, all: false };
      output ??= followLogs(client, task.meta?.id ?? "", flags, interrupted);
      // Awaited with the task's end, or not at all where the way to the manager breaks.
      output.catch(() => undefined);
    };
    const ended = await endedTask(client, service, show, interrupted);
    if (ended === undefined) return exitInterrupted;
    if (stateOf(ended) !== TaskState.REJECTED) show(ended);
    await output;
    if (interrupted.aborted) return exitInterrupted;
    const { status } = ended;
    const code = status?.container?.exitCode;
    if (status?.container?.oomKilled === true) process.stderr.write(`${name} ran out of memory and was killed\n`);
    if (code !== undefined) return code;
    const why = printable(status?.message ?? "");
    process.stderr.write(
      `error: ${name} ${taskStateText(status?.state ?? TaskState.NEW)}${why === "" ? "" : `: ${why}`}\n`,
    );
    return exitNotStarted;
  }
}

/**
 * The service's task once it has ended. What it waits for is said meanwhile. Undefined: interrupted.
 *
 * @param onStarted called while it runs
 */
async function endedTask(
  client: ApiClient,
  service: string,
  onStarted: (task: Task) => void,
  interrupted: AbortSignal,
): Promise<Task | undefined> {
  const over = new AbortController();
  const signal = AbortSignal.any([interrupted, over.signal]);
  let said = "";
  try {
    for await (const { message } of client.events.watch({ service }, { signal })) {
      const object = message?.$case === "change" ? message.value.object : undefined;
      if (object?.$case !== "task") continue;
      const task = object.value;
      if (hasEnded(task)) return task;
      const state = stateOf(task);
      if (state >= TaskState.STARTING) onStarted(task);
      const waits = state === TaskState.PENDING ? printable(task.status?.message ?? "") : "";
      if (waits !== "" && waits !== said) process.stderr.write(`waits: ${waits}\n`);
      said = waits;
    }
  } catch (error) {
    if (interrupted.aborted) return undefined;
    if (!ApiError.is(error, "API_NOT_FOUND")) throw error;
  } finally {
    over.abort();
  }
  if (interrupted.aborted) return undefined;
  throw new CommandFailed("the service is gone: something else has deleted it");
}
