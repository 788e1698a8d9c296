import {
  Node,
  NodeSpec,
  NodeSpec_Availability,
  NodeStatus_State,
  NodesDefinition,
  ObjectKind,
  RemovedNode,
  precondition,
} from "@warren/api";
import { checkNodeSpec } from "@warren/api/spec";
import { bind, type BoundService } from "@warren/api/server";
import { isDeepStrictEqual } from "node:util";
import { Access, idOf, nodeName, resolve } from "./access.ts";
import { stale } from "./failures.ts";
import { pageOf } from "./pages.ts";

const actions: Readonly<Record<NodeSpec_Availability, readonly [action: string, message: string]>> = {
  [NodeSpec_Availability.UNSPECIFIED]: ["updated", "updated"],
  [NodeSpec_Availability.ACTIVE]: ["activated", "takes tasks again"],
  [NodeSpec_Availability.PAUSE]: ["paused", "keeps its tasks and gets no new ones"],
  [NodeSpec_Availability.DRAIN]: ["drained", "its tasks move away"],
};

export function nodes(access: Access): BoundService {
  return bind(NodesDefinition, {
    get: ({ ref }) => resolve(access.view(), "nodes", ref),

    list({ page }) {
      const { items, nextPageToken } = pageOf(page, {
        of: "nodes",
        objects: access.view().list("nodes"),
        keyOf: (node) => `${nodeName(node)}\0${idOf(node)}`,
        bytesOf: (node) => Node.encode(node).finish().length,
      });
      return { nodes: [...items], nextPageToken };
    },

    async update({ ref, specVersion, spec }, { signal }) {
      const checked = checkNodeSpec(spec);
      const id = await access.update(signal, (tx) => {
        const node = resolve(tx, "nodes", ref);
        if (specVersion !== 0 && specVersion !== node.specVersion)
          throw stale("node", nodeName(node), node.specVersion, specVersion);
        const before = checkNodeSpec(NodeSpec.fromPartial(node.spec ?? {}));
        if (isDeepStrictEqual(NodeSpec.fromPartial(checked), NodeSpec.fromPartial(before))) return idOf(node);
        tx.update("nodes", { ...node, spec: checked, specVersion: node.specVersion + 1 });
        const [action, message] = actions[checked.availability === before.availability ? 0 : checked.availability];
        tx.emit({ kind: ObjectKind.NODE, objectId: idOf(node), objectName: nodeName(node), action, message });
        return idOf(node);
      });
      return resolve(access.view(), "nodes", id);
    },

    async remove({ ref }, { signal }) {
      await access.update(signal, (tx) => {
        const node = resolve(tx, "nodes", ref);
        const name = nodeName(node);
        if (node.status?.state !== NodeStatus_State.DOWN) {
          throw precondition(
            [{ type: "NODE_NOT_DOWN", subject: `node/${name}`, description: `node "${name}" is not down` }],
            `drain it (warren node drain ${name}), stop its worker, and wait until it is down`,
          );
        }
        tx.delete("nodes", idOf(node));
        // L15: its id is not given again.
        tx.create(
          "removedNodes",
          RemovedNode.fromPartial({ meta: { id: idOf(node) }, hostname: name, subnet: node.subnet }),
        );
        tx.emit({
          kind: ObjectKind.NODE,
          objectId: idOf(node),
          objectName: name,
          action: "removed",
          message: "removed from the cluster: its machine can join again as a new node",
        });
      });
      return {};
    },
  });
}
