/** Commands that look at the images of nodes, and remove unused ones. */
import { Flags } from "@oclif/core";
import { ListImagesResponse, PruneImagesResponse } from "@warren/api";
import { hostnames } from "../hostnames.ts";
import { toJson } from "../json.ts";
import { listFlags } from "../list-output.ts";
import { formatBytes } from "../units.ts";
import { imageColumns } from "../views.ts";
import { WarrenCommand } from "../warren-command.ts";
import { noteUnreachable } from "./volume.ts";

const nodeFlag = {
  node: Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    description: "Only on this node, by its host name or id",
    helpValue: "NODE",
  }),
};

export class ImageList extends WarrenCommand {
  static override summary = "List the images that nodes have.";
  static override description = "SIZE is that of the compressed layers, as in the registry.";
  static override flags = { ...listFlags, ...nodeFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(ImageList);
    const client = await this.connect(flags.host);
    const answer = await client.images.list({ nodes: flags.node ?? [] });
    const hosts = await hostnames(client);
    noteUnreachable(answer.unreachableNodes, hosts);
    await this.printList(flags, {
      rows: answer.images,
      columns: imageColumns(hosts),
      name: ({ ref }) => ref,
      json: () => toJson(ListImagesResponse, answer),
    });
  }
}

export class ImagePrune extends WarrenCommand {
  static override summary = "Remove the images that no task uses.";
  static override description =
    "Nodes do this by themselves an hour after an image's last use (--image-grace of the worker). A task that has ended uses its image for as long as its log is kept.";
  static override examples = ["<%= config.bin %> image prune --node edge-1"];
  static override flags = { ...listFlags, ...nodeFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(ImagePrune);
    const client = await this.connect(flags.host);
    const answer = await client.images.prune({ nodes: flags.node ?? [] });
    const hosts = await hostnames(client);
    noteUnreachable(answer.unreachableNodes, hosts);
    const { images } = answer;
    const bytes = images.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const count = images.length === 1 ? "1 image" : `${images.length} images`;
    process.stderr.write(`${count} removed${images.length === 0 ? "" : `, ${formatBytes(bytes)} (compressed)`}\n`);
    if (images.length === 0 && flags.output === "table") return;
    await this.printList(flags, {
      rows: images,
      columns: imageColumns(hosts),
      name: ({ ref }) => ref,
      json: () => toJson(PruneImagesResponse, answer),
    });
  }
}
