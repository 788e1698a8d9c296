import { ApiError, VolumesDefinition, precondition, type Volume } from "@warren/api";
import { bind, type BoundService } from "@warren/api/server";
import { Access, checkRef, idOf, nodeName, nodesOf, resolve } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { mustBeFew } from "./failures.ts";
import { askNodes } from "./node-answers.ts";

/** How long nodes have to list their volumes, ms. */
const listMs = 5_000;

export function volumes(access: Access, { relay, clock }: ControlDependencies): BoundService {
  const list = async (nodes: readonly string[], names: readonly string[], signal: AbortSignal) => {
    const asked = nodesOf(access.view(), nodes);
    // A node speaks of its own volumes, whatever it says of whose they are.
    const ask = async (nodeId: string, all: AbortSignal): Promise<readonly Volume[]> =>
      (await relay.volumes(nodeId, all)).map((volume) => ({ ...volume, nodeId }));
    const { answers, unreachableNodes } = await askNodes(clock, listMs, asked, ask, signal);
    const wanted = answers.flat().filter(({ name }) => names.length === 0 || names.includes(name));
    return { volumes: wanted.sort(byName), unreachableNodes };
  };
  return bind(VolumesDefinition, {
    async list({ nodes, names }, { signal }) {
      mustBeFew("names", names.length);
      return list(nodes, names, signal);
    },

    async delete({ name, node }, { signal }) {
      checkRef(name, "name");
      const view = access.view();
      const nodeId = node === "" ? await theOne(name, signal) : idOf(resolve(view, "nodes", node, "node"));
      await relay.deleteVolume(nodeId, name, signal);
      return { nodeId };
    },
  });

  /** The one node that has a volume. */
  async function theOne(name: string, signal: AbortSignal): Promise<string> {
    const view = access.view();
    const nameOf = (id: string): string => nodeName(resolve(view, "nodes", id));
    const { volumes: found, unreachableNodes } = await list([], [name], signal);
    const [first] = found;
    if (unreachableNodes.length === 0 && found.length === 1 && first !== undefined) return first.nodeId;
    if (unreachableNodes.length === 0 && first === undefined)
      throw new ApiError({ code: "API_NOT_FOUND", kind: "volume", ref: name }, `there is no volume "${name}"`, {
        remedy: "see what there is with: warren volume list",
      });
    const nodes = found.map(({ nodeId }) => nameOf(nodeId)).sort();
    const where = nodes.length === 0 ? "no node that answers has it" : `it is on ${nodes.join(", ")}`;
    const silent = unreachableNodes.map(nameOf);
    const more = silent.length === 0 ? "" : `, and ${silent.join(", ")} can't be asked`;
    throw precondition(
      [{ type: "NODE_NEEDED", subject: `volume/${name}`, description: `which volume "${name}"? ${where}${more}` }],
      `say of which node: warren volume delete ${name} --node NODE`,
    );
  }
}

function byName(a: Volume, b: Volume): number {
  const [first, second] = [`${a.name}\0${a.nodeId}`, `${b.name}\0${b.nodeId}`];
  return first < second ? -1 : first > second ? 1 : 0;
}
