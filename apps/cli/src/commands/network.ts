import { Args, Flags } from "@oclif/core";
import { ListNetworksResponse, Network } from "@warren/api";
import { toJson } from "../json.ts";
import { listFlags } from "../list-output.ts";
import { pages } from "../pages.ts";
import { parseLabel } from "../service/flag-syntax.ts";
import { networkColumns } from "../views.ts";
import { CommandFailed, inspectFlag, WarrenCommand } from "../warren-command.ts";

const networkArg = {
  network: Args.string({ required: true, description: "Name or id; the first characters of an id are enough" }),
};

export class NetworkCreate extends WarrenCommand {
  static override summary = "Create a network: only tasks that share one can reach each other.";
  static override args = { name: Args.string({ required: true, description: "Name of the network" }) };
  static override flags = {
    label: Flags.string({
      char: "l",
      multiple: true,
      multipleNonGreedy: true,
      description: "Label of the network",
      helpValue: "KEY=VALUE",
    }),
  };
  static override fieldWords = { "spec.name": "NAME", "spec.labels": "--label" };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NetworkCreate);
    const client = await this.connect(flags.host);
    const labels = Object.fromEntries((flags.label ?? []).map(parseLabel));
    const network = await client.networks.create({ spec: { name: args.name, labels } });
    process.stdout.write(`${network.meta?.id ?? ""}\n`);
  }
}

export class NetworkList extends WarrenCommand {
  static override summary = "List networks.";
  static override flags = listFlags;

  async run(): Promise<void> {
    const { flags } = await this.parse(NetworkList);
    const client = await this.connect(flags.host);
    const networks = await pages(
      (page) => client.networks.list({ page }),
      (answer) => answer.networks,
    );
    await this.printList(flags, {
      rows: networks,
      columns: networkColumns,
      name: ({ spec }) => spec?.name ?? "",
      json: () => toJson(ListNetworksResponse, { networks, nextPageToken: "" }),
    });
  }
}

export class NetworkInspect extends WarrenCommand {
  static override summary = "Show a network in full.";
  static override args = networkArg;
  static override flags = inspectFlag;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(NetworkInspect);
    const client = await this.connect(flags.host);
    const network = await client.networks.get({ ref: args.network });
    await this.print(flags.output, {
      rows: [network],
      columns: networkColumns,
      name: ({ spec }) => spec?.name ?? "",
      json: () => toJson(Network, network),
    });
  }
}

export class NetworkDelete extends WarrenCommand {
  static override summary = "Delete networks that no service is on.";
  static override usage = "network delete NETWORK…";
  static override strict = false;
  static override args = networkArg;

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(NetworkDelete);
    const client = await this.connect(flags.host);
    const failed = await this.each([...new Set(argv as string[])], String, async (ref) => {
      await client.networks.delete({ ref });
      process.stderr.write(`${ref}: deleted\n`);
    });
    if (failed > 0) throw new CommandFailed(`${failed} of ${argv.length} could not be deleted`);
  }
}
