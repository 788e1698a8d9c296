import { NodeStatus_State, type Node } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { pages } from "./pages.ts";

/** Node id → host name, with a mark where the node is down: what is said of its tasks was so when it was last heard of. */
export async function hostnames(client: ApiClient): Promise<ReadonlyMap<string, string>> {
  const nodes = await listNodes(client);
  const nameOf = ({ description, status }: Node): string =>
    `${description?.hostname ?? ""}${status?.state === NodeStatus_State.DOWN ? " (down)" : ""}`;
  return new Map(nodes.map((node) => [node.meta?.id ?? "", nameOf(node)]));
}

export function listNodes(client: ApiClient): Promise<Node[]> {
  return pages(
    (page) => client.nodes.list({ page }),
    (answer) => answer.nodes,
  );
}
