/** Commands that change services, and wait until it is done. */
import { Args, Flags } from "@oclif/core";
import { ApiError, ServiceSpec, UpdatePlan, type Service, type Task } from "@warren/api";
import { hasEnded } from "@warren/api/model";
import type { ApiClient } from "@warren/api/client";
import { volumesOf } from "../drain.ts";
import { listNodes } from "../hostnames.ts";
import { toJson } from "../json.ts";
import { lastLines } from "../logs.ts";
import { printable } from "../output.ts";
import { pages } from "../pages.ts";
import { progressOutput } from "../progress-output.ts";
import { serviceArg } from "../service-arg.ts";
import { deletion, follow, type FollowOptions } from "../service/convergence.ts";
import { planLines } from "../service/update-plan.ts";
import {
  applyServiceFlags,
  commonServiceFlags,
  noHealthcheckFlag,
  removalFlags,
  serviceFieldWords,
  serviceFlags,
} from "../service/service-flags.ts";
import { longestTimerMs, mostCount, parseDuration, UnitError, wholeNumber } from "../units.ts";
import { CommandFailed, textFlag, waitFlags, WarrenCommand } from "../warren-command.ts";

interface WaitFlags {
  readonly host: string;
  readonly detach: boolean;
  readonly timeout: string;
  /** How much of the time is over. @default 0 */
  readonly spentMs?: number;
}

/** Warnings that nodes report of the service's published ports. Its tasks run all the same, so no state of theirs shows it. */
async function portWarnings(client: ApiClient, { meta, spec }: Service): Promise<string> {
  if ((spec?.ports ?? []).length === 0) return "";
  const nodes = await listNodes(client);
  return nodes
    .flatMap(({ description }) => description?.conditions ?? [])
    .filter(({ code, serviceIds }) => code.startsWith("PORT_") && serviceIds.includes(meta?.id ?? ""))
    .map(({ message, remedy, command }) => {
      const shown = command === "" ? "" : `  ${command}\n`;
      return `warning: ${printable(message)}; ${printable(remedy)}\n${shown}`;
    })
    .join("");
}

/** A command that changes a service and waits until its tasks are as asked for. */
export abstract class ServiceCommand extends WarrenCommand {
  /** Shows progress until the service is as wanted. @throws CommandFailed where it stops, goes, or takes too long */
  protected async converge(
    service: Service,
    flags: WaitFlags,
    options: Pick<FollowOptions, "judge"> = {},
  ): Promise<void> {
    const id = service.meta?.id ?? "";
    if (flags.detach) return;
    const client = await this.connect(flags.host);
    const timeoutMs = parseDuration(flags.timeout, longestTimerMs);
    const late = AbortSignal.timeout(Math.max(0, Math.round(timeoutMs - (flags.spentMs ?? 0))));
    // The watch ends with the judgement, though the next message may be awaited.
    const over = new AbortController();
    const signal = AbortSignal.any([late, this.interrupted, over.signal]);
    const name = service.spec?.name ?? id;
    const last = await follow(client.events.watch({ service: id }, { signal }), progressOutput(), {
      ...options,
      lastLines: ({ meta }) => lastLines(client, meta?.id ?? ""),
    }).catch((error: unknown) => {
      if (!ApiError.is(error, "API_UNAVAILABLE")) throw error;
      throw new CommandFailed(
        `${error.message}; the change is stored and goes on: 'warren why ${name}' says how far it is`,
      );
    });
    over.abort();
    switch (last.kind) {
      case "converged":
        process.stderr.write(await portWarnings(client, service));
        return;
      case "gone":
      case "stopped":
        throw new CommandFailed(`${last.text}; 'warren why ${name}' shows more`);
      case "waiting":
        if (late.aborted) {
          throw new CommandFailed(
            `${last.text}; not done after ${flags.timeout}: it is still in progress, 'warren why ${name}' shows more`,
          );
        }
        throw new CommandFailed(`${last.text}; still in progress: see 'warren service tasks ${name}'`);
    }
  }

  protected printId(service: Service): void {
    process.stdout.write(`${service.meta?.id ?? ""}\n`);
  }
}

export class ServiceCreate extends ServiceCommand {
  static override summary = "Create a service and wait until its tasks run.";
  static override usage = "service create NAME --image IMAGE [FLAGS] [-- ARGUMENT…]";
  static override examples = [
    "<%= config.bin %> service create web --image nginx --replicas 3 -p 8080:80 --health-http 80/",
    "<%= config.bin %> service create db --image postgres:17 --mount src=db,dst=/var/lib/postgresql/data --env-file db.env",
    "<%= config.bin %> service create tick --image busybox --entrypoint 'sh -c' -- 'while date; do sleep 1; done'",
  ];
  static override args = {
    name: Args.string({ required: true, description: "Name of the service, and its DNS name" }),
  };
  static override flags = {
    ...serviceFlags,
    ...noHealthcheckFlag,
    image: Flags.string({ description: "(required) Image to run, such as nginx:1.27", helpValue: "IMAGE" }),
    replicas: Flags.integer({ description: "How many tasks", default: 1, min: 0, max: mostCount, helpValue: "N" }),
    ...waitFlags,
  };

  static override commonFlags = ["image", "replicas", ...commonServiceFlags.slice(1), "detach", "timeout"];
  static override fieldWords = serviceFieldWords;

  async run(): Promise<void> {
    const { own, rest } = this.splitArgv();
    const { args, flags } = await this.parse(ServiceCreate, own);
    if (!("image" in flags)) throw new UnitError("--image is required, as --image nginx:1.27");
    const blank = ServiceSpec.fromPartial({
      name: args.name,
      mode: { $case: "replicated", value: { replicas: flags.replicas } },
    });
    const client = await this.connect(flags.host);
    const service = await client.services.create({ spec: applyServiceFlags(blank, flags, rest) });
    this.printId(service);
    await this.converge(service, flags);
  }
}

export class ServiceUpdate extends ServiceCommand {
  static override summary = "Change a service and wait until its tasks are replaced.";
  static override description =
    "A flag replaces what the service has; one that may be repeated adds to it. Everything else stays. Flags that end in -rm remove.";
  static override usage = "service update SERVICE [FLAGS] [-- ARGUMENT…]";
  static override examples = [
    "<%= config.bin %> service update web --image nginx:1.29",
    "<%= config.bin %> service update web --env LEVEL=debug --limit-memory 256m",
    "<%= config.bin %> service update web --publish-rm 80 -p 8081:80",
    "<%= config.bin %> service update web --image nginx:1.29 --dry-run",
  ];
  static override args = serviceArg;
  static override flags = {
    ...serviceFlags,
    ...removalFlags,
    ...noHealthcheckFlag,
    replicas: Flags.integer({ description: "How many tasks", min: 0, max: mostCount, helpValue: "N" }),
    force: Flags.boolean({ description: "Replace all tasks even if nothing changes" }),
    "dry-run": Flags.boolean({
      description: "Show which tasks would be replaced and how long it takes; change nothing",
    }),
    ...textFlag,
    ...waitFlags,
  };

  static override commonFlags = [
    ...commonServiceFlags,
    "replicas",
    "env-rm",
    "publish-rm",
    "force",
    "dry-run",
    "detach",
    "timeout",
  ];
  static override fieldWords = serviceFieldWords;

  async run(): Promise<void> {
    const { own, rest } = this.splitArgv();
    const { args, flags } = await this.parse(ServiceUpdate, own);
    if (flags.output !== undefined && !flags["dry-run"]) throw new UnitError("-o is for --dry-run: leave it out");
    const client = await this.connect(flags.host);
    const before = await client.services.get({ ref: args.service });
    const spec = applyServiceFlags(before.spec ?? ServiceSpec.create({}), flags, rest);
    if (flags.replicas !== undefined) spec.mode = { $case: "replicated", value: { replicas: flags.replicas } };
    if (flags.force && spec.task !== undefined) spec.task.forceUpdate += 1;
    const ref = before.meta?.id ?? args.service;
    // The image was named, so that its tag is looked up again, though it may be the same.
    const resolveImage = "image" in flags;
    const request = { ref, specVersion: before.specVersion, spec, resolveImage };
    if (flags["dry-run"]) return this.#showPlan(spec.name, await client.services.planUpdate(request), flags.output);
    const service = await client.services.update(request);
    this.printId(service);
    await this.converge(service, flags);
  }

  async #showPlan(name: string, plan: UpdatePlan, output: string | undefined): Promise<void> {
    if (output !== undefined)
      return this.print(output, { rows: [], columns: [], name: () => "", json: () => toJson(UpdatePlan, plan) });
    process.stdout.write(`${planLines(name, plan).join("\n")}\n`);
  }
}

/** `web=5 db=1`; each service once. @throws UnitError */
export function parseScales(words: readonly string[]): { readonly ref: string; readonly replicas: number }[] {
  const wanted = new Map<string, number>();
  for (const text of words) {
    const [, ref, replicas] = /^(.+)=(\d+)$/.exec(text) ?? [];
    if (ref === undefined) throw new UnitError(`'${text}': want SERVICE=REPLICAS, as web=3`);
    const before = wanted.get(ref);
    if (before !== undefined && before !== Number(replicas))
      throw new UnitError(`'${ref}=${before}' and '${text}' contradict each other: give one of them`);
    wanted.set(ref, wholeNumber(replicas ?? ""));
  }
  return [...wanted].map(([ref, replicas]) => ({ ref, replicas }));
}

export class ServiceScale extends ServiceCommand {
  static override summary = "Set how many tasks services have.";
  static override usage = "service scale SERVICE=REPLICAS…";
  static override examples = ["<%= config.bin %> service scale web=5 db=1"];
  static override strict = false;
  static override args = {
    scale: Args.string({ required: true, description: "Service and its number of tasks, such as web=5" }),
  };
  static override flags = waitFlags;
  static override fieldWords = { ref: "SERVICE", replicas: "REPLICAS" };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(ServiceScale);
    const wanted = parseScales(argv as string[]);
    const client = await this.connect(flags.host);
    // All are looked up first, so that a name that is wrong changes none.
    for (const { ref } of wanted) await client.services.get({ ref });
    const scaled: Service[] = [];
    for (const request of wanted) scaled.push(await client.services.scale(request));
    for (const service of scaled) await this.converge(service, flags);
  }
}

export class ServiceRollback extends ServiceCommand {
  static override summary = "Return a service to an earlier version.";
  static override args = serviceArg;
  static override flags = {
    to: Flags.integer({
      description: "Number of the version to return to (default: the last one that completed before)",
      min: 1,
      max: mostCount,
    }),
    ...waitFlags,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceRollback);
    const client = await this.connect(flags.host);
    const versionNumber = flags.to ?? 0;
    await this.converge(await client.services.rollback({ ref: args.service, versionNumber }), flags);
  }
}

export class ServiceDelete extends ServiceCommand {
  static override summary = "Delete services and wait until their tasks are gone.";
  static override strict = false;
  static override usage = "service delete SERVICE…";
  static override args = serviceArg;
  static override flags = {
    "dry-run": Flags.boolean({ description: "Say what would end, and change nothing" }),
    ...waitFlags,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(ServiceDelete);
    const client = await this.connect(flags.host);
    const found = new Map<string, { readonly service: Service; readonly live: readonly Task[] }>();
    const unknown = await this.each(argv as string[], String, async (ref) => {
      const service = await client.services.get({ ref });
      const id = service.meta?.id ?? "";
      const tasks = await pages(
        (page) => client.tasks.list({ page, services: [id] }),
        (answer) => answer.tasks,
      );
      // Named twice, it is deleted once.
      found.set(id, { service, live: tasks.filter((task) => task.current && !hasEnded(task)) });
      if (!flags["dry-run"]) await client.services.delete({ ref: id });
    });
    if (flags["dry-run"])
      for (const { service, live } of found.values()) process.stdout.write(`${deletionPlan(service, live)}\n`);
    else await this.#wait(client, found, flags);
    if (unknown > 0) throw new CommandFailed(`${unknown} of ${argv.length} could not be deleted`);
  }

  async #wait(
    client: ApiClient,
    deleted: ReadonlyMap<string, { readonly service: Service; readonly live: readonly Task[] }>,
    { detach, timeout }: WaitFlags,
  ): Promise<void> {
    for (const [id, { service, live }] of deleted) {
      const name = service.spec?.name ?? "";
      if (detach) process.stderr.write(`${name}: deleted; its tasks are stopping\n`);
      else await this.#gone(client, id, name, timeout);
      const volumes = volumesOf(live);
      if (volumes.length > 0) process.stderr.write(`volumes stay where the tasks ran: ${volumes.join(", ")}\n`);
    }
  }

  /** Shows progress until its tasks are gone. @throws CommandFailed */
  async #gone(client: ApiClient, id: string, name: string, timeout: string): Promise<void> {
    const late = AbortSignal.timeout(parseDuration(timeout, longestTimerMs));
    const signal = AbortSignal.any([late, this.interrupted]);
    const watch = client.events.watch({ service: id }, { signal });
    const last = await follow(watch, progressOutput(), { judge: deletion(name) });
    if (last.kind === "gone") return;
    // Its name leads nowhere any more, but its tasks are still listed.
    const why = late.aborted ? `not done after ${timeout}` : "no longer watched";
    throw new CommandFailed(`${last.text}; ${why}, but it goes on: see 'warren task list'`);
  }
}

/** What would end with a service. Pure. */
export function deletionPlan({ spec, endpoint }: Service, live: readonly Task[]): string {
  const ports = (endpoint?.ports ?? spec?.ports ?? []).map(({ published }) => published).filter((port) => port !== 0);
  const count = `${live.length} task${live.length === 1 ? "" : "s"} would stop`;
  const free = ports.length === 0 ? "" : `, port${ports.length === 1 ? "" : "s"} ${ports.join(", ")} would be free`;
  const volumes = volumesOf(live);
  const stay = volumes.length === 0 ? "" : `; volumes would stay: ${volumes.join(", ")}`;
  return `${spec?.name ?? ""}: ${count}${free}${stay}`;
}
