import type { Node } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { pages } from "./pages.ts";

/** Node id → host name. */
export async function hostnames(client: ApiClient): Promise<ReadonlyMap<string, string>> {
  const nodes = await listNodes(client);
  return new Map(nodes.map(({ meta, description }) => [meta?.id ?? "", description?.hostname ?? ""]));
}

export function listNodes(client: ApiClient): Promise<Node[]> {
  return pages(
    (page) => client.nodes.list({ page }),
    (answer) => answer.nodes,
  );
}
