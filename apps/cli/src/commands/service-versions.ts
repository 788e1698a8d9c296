/** Commands that look at a service's versions, and the one that replaces its tasks by the same. */
import { Flags } from "@oclif/core";
import { ServiceHistoryResponse, TaskSpec, type ServiceVersion } from "@warren/api";
import type { Column } from "../output.ts";
import { toJson } from "../json.ts";
import { listFlags } from "../list-output.ts";
import { serviceArg } from "../service-arg.ts";
import { changeLine, changesText, versionChanges } from "../service/version-changes.ts";
import { mostCount, UnitError } from "../units.ts";
import { timeText } from "../views.ts";
import { CommandFailed, textFlag, waitFlags, WarrenCommand } from "../warren-command.ts";
import { ServiceCommand } from "./service-change.ts";

export class ServiceRestart extends ServiceCommand {
  static override summary = "Replace all tasks of a service by new ones, with the same image and settings.";
  static override description =
    "The tasks are replaced as in an update, by the service's own update settings (--update-parallelism, --update-order and so on). The image is not looked up again.";
  static override examples = ["<%= config.bin %> service restart web"];
  static override args = serviceArg;
  static override flags = waitFlags;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceRestart);
    const client = await this.connect(flags.host);
    await this.converge(await client.services.restart({ ref: args.service }), flags);
  }
}

export class ServiceHistory extends WarrenCommand {
  static override summary = "List the versions of a service that are kept, the newest first.";
  static override description =
    "Kept are the last 10 versions that were asked for, and the last 10 that completed their update. 'service rollback SERVICE --to N' returns to one.";
  static override examples = ["<%= config.bin %> service history web", "<%= config.bin %> service rollback web --to 3"];
  static override args = serviceArg;
  static override flags = listFlags;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceHistory);
    const client = await this.connect(flags.host);
    const answer = await client.services.history({ ref: args.service });
    const { toJson: taskJson } = await import("@warren/api/json");
    await this.printList(flags, {
      rows: answer.versions,
      columns: historyColumns(answer.versions, (task) => taskJson(TaskSpec, task), Date.now()),
      name: ({ version }) => String(version?.number ?? 0),
      json: () => toJson(ServiceHistoryResponse, answer),
    });
  }
}

/** @param versions the newest first. Pure. */
export function historyColumns(
  versions: readonly ServiceVersion[],
  taskJson: (task: TaskSpec) => unknown,
  now: number,
): readonly Column<ServiceVersion>[] {
  const when = timeText(false, now);
  const changes = (row: ServiceVersion): string => {
    const before = versions[versions.indexOf(row) + 1]?.version;
    if (row.version === undefined || before === undefined) return row.version?.number === 1 ? "created" : "";
    return changesText(versionChanges(before, row.version, taskJson));
  };
  return [
    { title: "VERSION", value: ({ version }) => String(version?.number ?? 0) },
    { title: "CREATED", value: ({ version }) => when(version?.meta?.createdAt) },
    { title: "RUNNING", value: ({ running }) => (running === 0 ? "" : String(running)) },
    { title: "STATUS", value: statusText },
    { title: "IMAGE", value: ({ version }) => version?.task?.container?.image ?? "" },
    { title: "CHANGED", value: changes },
    { title: "DIGEST", value: ({ version }) => version?.imageDigest ?? "", wide: true },
  ];
}

function statusText({ wanted, completed }: ServiceVersion): string {
  return [...(wanted ? ["current"] : []), completed ? "completed" : "not completed"].join(", ");
}

export class ServiceDiff extends WarrenCommand {
  static override summary = "Show what differs between two versions of a service.";
  static override description =
    "Each line names the flag that sets what differs: + was added, - was removed, ~ was changed.";
  static override examples = [
    "<%= config.bin %> service diff web",
    "<%= config.bin %> service diff web --from 3 --to 5",
  ];
  static override args = serviceArg;
  static override flags = {
    from: Flags.integer({
      description: "Number of a version (default: the one before)",
      min: 1,
      max: mostCount,
      helpValue: "N",
    }),
    to: Flags.integer({
      description: "Number of the version to compare it with (default: the current one)",
      min: 1,
      max: mostCount,
      helpValue: "N",
    }),
    ...textFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceDiff);
    if (flags.from !== undefined && flags.from === flags.to)
      throw new UnitError("--from and --to are the same version: give two");
    const client = await this.connect(flags.host);
    const { versions } = await client.services.history({ ref: args.service });
    const [from, to] = pick(args.service, versions, flags);
    const { toJson: taskJson } = await import("@warren/api/json");
    const changes = versionChanges(from, to, (task) => taskJson(TaskSpec, task));
    if (flags.output === undefined) {
      process.stderr.write(`version ${from.number} -> version ${to.number}\n`);
      for (const change of changes) process.stdout.write(`${changeLine(change)}\n`);
      if (changes.length === 0) process.stderr.write("nothing differs\n");
      return;
    }
    await this.print(flags.output, {
      rows: [],
      columns: [],
      name: () => "",
      json: () => ({ from: from.number, to: to.number, changes }),
    });
  }
}

type Kept = NonNullable<ServiceVersion["version"]>;

/** The two versions to compare. @throws CommandFailed where one is not kept */
function pick(
  service: string,
  versions: readonly ServiceVersion[],
  flags: { readonly from: number | undefined; readonly to: number | undefined },
): readonly [Kept, Kept] {
  const kept = versions.map(({ version }) => version).filter((version) => version !== undefined);
  const list = kept.map(({ number }) => number).join(", ");
  const numbered = (number: number): Kept => {
    const found = kept.find((version) => version.number === number);
    if (found !== undefined) return found;
    throw new CommandFailed(`service ${service} keeps no version ${number}: it keeps ${list}`);
  };
  const to = numbered(flags.to ?? versions.find(({ wanted }) => wanted)?.version?.number ?? 0);
  if (flags.from !== undefined) return [numbered(flags.from), to];
  const before = kept.find(({ number }) => number < to.number) ?? kept.find(({ number }) => number !== to.number);
  if (before === undefined)
    throw new CommandFailed(`service ${service} has had one version only: there is nothing to compare it with`);
  return [before, to];
}
