/** Commands that look at named volumes, and delete them. */
import { Args, Flags } from "@oclif/core";
import { ListVolumesResponse, type Volume } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { hostnames } from "../hostnames.ts";
import { toJson } from "../json.ts";
import { listFlags } from "../list-output.ts";
import { shortId, volumeColumns } from "../views.ts";
import { CommandFailed, inspectFlag, WarrenCommand } from "../warren-command.ts";

const volumeArg = { volume: Args.string({ required: true, description: "Name of the volume" }) };
const nodeFlag = {
  node: Flags.string({ description: "Only on this node, by its host name or id", helpValue: "NODE" }),
};

/** What nodes that answer have. Those that don't are named on stderr. */
async function read(
  client: ApiClient,
  names: readonly string[],
  node: string | undefined,
): Promise<{ readonly answer: ListVolumesResponse; readonly names: ReadonlyMap<string, string> }> {
  const [answer, hosts] = await Promise.all([
    client.volumes.list({ nodes: node === undefined ? [] : [node], names: [...names] }),
    hostnames(client),
  ]);
  noteUnreachable(answer.unreachableNodes, hosts);
  return { answer, names: hosts };
}

export function noteUnreachable(nodes: readonly string[], hosts: ReadonlyMap<string, string>): void {
  const silent = nodes.map((id) => hosts.get(id) ?? shortId(id));
  if (silent.length > 0) process.stderr.write(`no answer from: ${silent.join(", ")}\n`);
}

export class VolumeList extends WarrenCommand {
  static override summary = "List named volumes. Each is a folder of one node.";
  static override examples = ["<%= config.bin %> volume list --node edge-1"];
  static override flags = { ...listFlags, ...nodeFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(VolumeList);
    const { answer, names } = await read(await this.connect(flags.host), [], flags.node);
    await this.printList(flags, {
      rows: answer.volumes,
      columns: volumeColumns(Date.now(), names),
      name: ({ name }) => name,
      json: () => toJson(ListVolumesResponse, answer),
    });
  }
}

export class VolumeInspect extends WarrenCommand {
  static override summary = "Show a volume in full, on each node that has one of this name.";
  static override args = volumeArg;
  static override flags = { ...inspectFlag, ...nodeFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeInspect);
    const { answer, names } = await read(await this.connect(flags.host), [args.volume], flags.node);
    if (answer.volumes.length === 0)
      throw new CommandFailed(`there is no volume "${args.volume}": see what there is with 'warren volume list'`);
    await this.print(flags.output, {
      rows: answer.volumes,
      columns: volumeColumns(Date.now(), names),
      name: ({ name }: Volume) => name,
      json: () => toJson(ListVolumesResponse, answer),
    });
  }
}

export class VolumeDelete extends WarrenCommand {
  static override summary = "Delete volumes, with all that is in them.";
  static override description =
    "A volume that a task mounts is not deleted: delete the service first, or take the mount away.";
  static override usage = "volume delete VOLUME… [--node NODE]";
  static override examples = ["<%= config.bin %> volume delete data --node edge-1"];
  static override strict = false;
  static override args = volumeArg;
  static override flags = {
    node: Flags.string({
      description: "Its node, by host name or id; needed where several have one of this name",
      helpValue: "NODE",
    }),
  };
  static override fieldWords = { name: "VOLUME", node: "--node" };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(VolumeDelete);
    const client = await this.connect(flags.host);
    const names = [...new Set(argv as string[])];
    const failed = await this.each(names, String, async (name) => {
      await client.volumes.delete({ name, node: flags.node ?? "" });
      process.stdout.write(`${name}\n`);
    });
    if (failed > 0) throw new CommandFailed(`${failed} of ${names.length} could not be deleted`);
  }
}
