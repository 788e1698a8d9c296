import { ImagesDefinition, type NodeImage } from "@warren/api";
import { bind, type BoundService } from "@warren/api/server";
import { nodesOf, type Access } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { askNodes } from "./node-answers.ts";

/** How long nodes have to list their images, and to remove some, ms. */
const listMs = 5_000;
const pruneMs = 50_000;

export function images(access: Access, { relay, clock }: ControlDependencies): BoundService {
  const ask = async (
    nodes: readonly string[],
    timeoutMs: number,
    one: (nodeId: string, signal: AbortSignal) => Promise<readonly NodeImage[]>,
    signal: AbortSignal,
  ): Promise<{ images: NodeImage[]; unreachableNodes: string[] }> => {
    // A node speaks of its own images, whatever it says of whose they are.
    const ofNode = async (nodeId: string, all: AbortSignal): Promise<NodeImage[]> =>
      (await one(nodeId, all)).map((image) => ({ ...image, nodeId }));
    const asked = nodesOf(access.view(), nodes);
    const { answers, unreachableNodes } = await askNodes(clock, timeoutMs, asked, ofNode, signal);
    return { images: answers.flat().sort(byReference), unreachableNodes };
  };
  return bind(ImagesDefinition, {
    list: ({ nodes }, { signal }) => ask(nodes, listMs, (nodeId, all) => relay.images(nodeId, all), signal),
    prune: ({ nodes }, { signal }) => ask(nodes, pruneMs, (nodeId, all) => relay.pruneImages(nodeId, all), signal),
  });
}

function byReference(a: NodeImage, b: NodeImage): number {
  const [first, second] = [`${a.ref}\0${a.nodeId}`, `${b.ref}\0${b.nodeId}`];
  return first < second ? -1 : first > second ? 1 : 0;
}
