import { Args, Flags } from "@oclif/core";
import { ListNodesResponse, Node, NodeSpec_Availability, NodeStatus_State, ObjectKind, type Task } from "@warren/api";
import { toJson } from "../json.ts";
import { hasEnded } from "@warren/api/model";
import { listNodes } from "../hostnames.ts";
import { watchedListFlags } from "../list-output.ts";
import { pages } from "../pages.ts";
import { parseLabel } from "../service/flag-syntax.ts";
import { UnitError } from "../units.ts";
import { nodeColumns, shortId } from "../views.ts";
import { inspectFlag, WarrenCommand } from "../warren-command.ts";

const nodeArg = { node: Args.string({ required: true, description: "Host name, id or unique beginning of an id" }) };

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
    "A task moves once another node has prepared it; one that has nowhere to go stays until it has.";
  static override args = nodeArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodeDrain);
    const id = await this.change(flags.host, args.node, (spec) => {
      spec.availability = NodeSpec_Availability.DRAIN;
    });
    const client = await this.connect(flags.host);
    const nodes = await listNodes(client);
    const tasks = await pages(
      (page) => client.tasks.list({ page, nodes: [id] }),
      (answer) => answer.tasks,
    );
    process.stderr.write(`${drainText(id, nodes, tasks)}\n`);
  }
}

/** What becomes of a drained node's tasks. Pure. */
export function drainText(id: string, nodes: readonly Node[], tasks: readonly Task[]): string {
  const name = nodes.find(({ meta }) => meta?.id === id)?.description?.hostname || shortId(id);
  const left = tasks.filter((task) => task.current && !hasEnded(task)).length;
  if (left === 0) return `${name} is drained: it has no tasks and gets none`;
  const takers = nodes.filter(
    ({ meta, spec, status }) =>
      meta?.id !== id &&
      status?.state === NodeStatus_State.READY &&
      (spec?.availability || NodeSpec_Availability.ACTIVE) === NodeSpec_Availability.ACTIVE,
  );
  const count = `${left} task${left === 1 ? "" : "s"}`;
  if (takers.length > 0) return `${name} gets no new tasks; its ${count} move: 'warren task list --node ${name}'`;
  return `${name} gets no new tasks, but its ${count} ${left === 1 ? "has" : "have"} nowhere to go and keep${left === 1 ? "s" : ""} running: no other node is ready; back with 'warren node activate ${name}'`;
}

export class NodePause extends NodeChange {
  static override summary = "Give a node no new tasks, and leave it those it has.";
  static override args = nodeArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodePause);
    await this.change(flags.host, args.node, (spec) => void (spec.availability = NodeSpec_Availability.PAUSE));
  }
}

export class NodeActivate extends NodeChange {
  static override summary = "Give a node tasks again, after drain or pause.";
  static override args = nodeArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodeActivate);
    await this.change(flags.host, args.node, (spec) => void (spec.availability = NodeSpec_Availability.ACTIVE));
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
      description: "Take away a label",
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
        if (!Object.hasOwn(labels, key)) throw new UnitError(`--label-rm: the node has no '${key}' to take away`);
        delete labels[key];
      }
      Object.assign(labels, Object.fromEntries(added));
    });
  }
}

export class NodeRemove extends WarrenCommand {
  static override summary = "Remove a node that is down from the cluster.";
  static override args = nodeArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NodeRemove);
    const client = await this.connect(flags.host);
    await client.nodes.remove({ ref: args.node });
  }
}
