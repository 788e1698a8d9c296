import { Args, Flags } from "@oclif/core";
import { ListNodesResponse, Node, NodeSpec_Availability, ObjectKind, type Task } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { drained, drainPlan, DrainWatch, runningText, stayText, tasksThere, type DrainProgress } from "../drain.ts";
import { toJson } from "../json.ts";
import { listNodes } from "../hostnames.ts";
import { watchedListFlags } from "../list-output.ts";
import { pages } from "../pages.ts";
import { parseLabel } from "../service/flag-syntax.ts";
import { progressLine } from "../progress-output.ts";
import { longestTimerMs, parseDuration, UnitError } from "../units.ts";
import { nodeColumns } from "../views.ts";
import { CommandFailed, inspectFlag, waitFlags, WarrenCommand } from "../warren-command.ts";

const nodeArg = {
  node: Args.string({ required: true, description: "Host name or id; the first characters of an id are enough" }),
};

export class NodeList extends WarrenCommand {
  static override summary = "List nodes.";
  static override flags = watchedListFlags;

  async run(): Promise<void> {
    const { flags } = await this.parse(NodeList);
    const client = await this.connect(flags.host);
    await this.showList(client, flags, [ObjectKind.NODE], async () => {
      const nodes = await listNodes(client);
      return {
        rows: nodes,
        columns: nodeColumns,
        name: ({ description }) => description?.hostname ?? "",
        json: () => toJson(ListNodesResponse, { nodes, nextPageToken: "" }),
      };
    });
  }
}

export class NodeInspect extends WarrenCommand {
  static override summary = "Show a node in full.";
  static override args = nodeArg;
  static override flags = inspectFlag;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodeInspect);
    const client = await this.connect(flags.host);
    const node = await client.nodes.get({ ref: args.node });
    await this.print(flags.output, {
      rows: [node],
      columns: nodeColumns,
      name: ({ description }) => description?.hostname ?? "",
      json: () => toJson(Node, node),
    });
  }
}

abstract class NodeChange extends WarrenCommand {
  /** @returns the node's id */
  protected async change(
    host: string,
    ref: string,
    change: (spec: NonNullable<Node["spec"]>) => void,
  ): Promise<string> {
    const client = await this.connect(host);
    const { meta, spec, specVersion } = await client.nodes.get({ ref });
    const next = { labels: { ...spec?.labels }, availability: spec?.availability ?? NodeSpec_Availability.ACTIVE };
    change(next);
    const id = meta?.id ?? ref;
    await client.nodes.update({ ref: id, specVersion, spec: next });
    return id;
  }
}

export class NodeDrain extends NodeChange {
  static override summary = "Move a node's tasks to other nodes, and assign it no new ones.";
  static override description =
    "A task moves once another node has prepared it; one that has nowhere to go stays until it has. Waits until no more tasks move.";
  static override args = nodeArg;
  static override flags = {
    "dry-run": Flags.boolean({ description: "Say which tasks would move, and change nothing" }),
    ...waitFlags,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodeDrain);
    const client = await this.connect(flags.host);
    const { meta } = await client.nodes.get({ ref: args.node });
    const id = meta?.id ?? args.node;
    const node = drained(id, await listNodes(client));
    const before = await tasksOn(client, id);
    if (flags["dry-run"]) {
      process.stdout.write(`${drainPlan(node, before)}\n`);
      return;
    }
    await this.change(flags.host, id, (spec) => void (spec.availability = NodeSpec_Availability.DRAIN));
    for (const line of stayText(node, tasksThere(node, before))) process.stderr.write(`${line}\n`);
    const watch = new DrainWatch(node, before);
    const output = progressLine();
    const late = AbortSignal.timeout(parseDuration(flags.timeout, longestTimerMs));
    const over = new AbortController();
    const signal = AbortSignal.any([late, this.interrupted, over.signal]);
    let last: DrainProgress | undefined;
    try {
      for await (const message of client.events.watch({ kinds: [ObjectKind.TASK] }, { signal })) {
        watch.observe(message);
        if (!watch.isSynced) continue;
        last = watch.progress;
        output.show(last.text);
        if (last.kind === "done" || flags.detach) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      over.abort();
      output.end();
    }
    if (last?.kind === "done" || flags.detach) return;
    const why = late.aborted ? `not done after ${flags.timeout}` : "no longer watched";
    throw new CommandFailed(`${why}, but it goes on: see 'warren why ${node.name}'`);
  }
}

function tasksOn(client: ApiClient, id: string): Promise<Task[]> {
  return pages(
    (page) => client.tasks.list({ page, nodes: [id] }),
    (answer) => answer.tasks,
  );
}

abstract class NodeAvailability extends NodeChange {
  /** @param then what is so from now on, after the node's name */
  protected async set(host: string, ref: string, availability: NodeSpec_Availability, then: string): Promise<void> {
    const id = await this.change(host, ref, (spec) => void (spec.availability = availability));
    const client = await this.connect(host);
    const { name } = drained(id, await listNodes(client));
    const there = tasksThere({ id }, await tasksOn(client, id));
    process.stderr.write(`${name} ${then}; ${runningText(there)} there\n`);
  }
}

export class NodePause extends NodeAvailability {
  static override summary = "Give a node no new tasks, and leave it those it has.";
  static override args = nodeArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodePause);
    await this.set(flags.host, args.node, NodeSpec_Availability.PAUSE, "gets no new tasks");
  }
}

export class NodeActivate extends NodeAvailability {
  static override summary = "Give a node tasks again, after drain or pause.";
  static override args = nodeArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodeActivate);
    await this.set(flags.host, args.node, NodeSpec_Availability.ACTIVE, "takes tasks again");
  }
}

export class NodeUpdate extends NodeChange {
  static override summary = "Change a node's labels.";
  static override args = nodeArg;
  static override flags = {
    label: Flags.string({
      char: "l",
      multiple: true,
      multipleNonGreedy: true,
      description: "Label of the node",
      helpValue: "KEY=VALUE",
    }),
    "label-rm": Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: "Remove a label",
      helpValue: "KEY",
    }),
  };
  static override fieldWords = { "spec.labels": "--label" };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodeUpdate);
    const added = (flags.label ?? []).map(parseLabel);
    const gone = flags["label-rm"] ?? [];
    if (added.length + gone.length === 0) throw new UnitError("nothing to change: give --label or --label-rm");
    await this.change(flags.host, args.node, ({ labels }) => {
      for (const key of gone) {
        if (!Object.hasOwn(labels, key)) throw new UnitError(`--label-rm: the node has no label '${key}'`);
        delete labels[key];
      }
      Object.assign(labels, Object.fromEntries(added));
    });
  }
}

export class NodeRemove extends WarrenCommand {
  static override summary = "Remove nodes that are down from the cluster.";
  static override usage = "node remove NODE…";
  static override strict = false;
  static override args = nodeArg;

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(NodeRemove);
    const client = await this.connect(flags.host);
    const failed = await this.each(argv as string[], String, async (ref) => {
      await client.nodes.remove({ ref });
      process.stderr.write(`${ref}: removed from the cluster; its machine can join again as a new node\n`);
    });
    if (failed > 0) throw new CommandFailed(`${failed} of ${argv.length} could not be removed`);
  }
}
