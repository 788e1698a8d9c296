import type { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  EventsDefinition,
  Network,
  NetworksDefinition,
  Task,
  TasksDefinition,
  type ExecRequest,
  type ExecResponse,
} from "@warren/api";
import { connect, type ApiClient } from "@warren/api/client";
import {
  bind,
  startServer,
  type ApiServer,
  type BoundService,
  type Directory,
  type Handlers,
  type Identity,
  type Refusal,
  type ServerDependencies,
  type ServerOptions,
} from "@warren/api/server";
import { verifyChain } from "@warren/security";
import { onTestFinished } from "vitest";

/** A folder that goes with the test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "api-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function networks(handlers: Partial<Handlers<NetworksDefinition>> = {}): BoundService {
  return bind(NetworksDefinition, {
    create: ({ spec }) => Network.fromPartial({ meta: { id: "n1" }, spec: spec ?? {} }),
    get: ({ ref }) => Network.fromPartial({ meta: { id: ref } }),
    list: () => ({ networks: [], nextPageToken: "" }),
    delete: () => ({}),
    ...handlers,
  });
}

export function events(handlers: Partial<Handlers<EventsDefinition>>): BoundService {
  return bind(EventsDefinition, {
    list: () => ({ events: [], nextPageToken: "" }),
    async *follow() {},
    async *watch() {},
    ...handlers,
  });
}

export function tasks(
  exec: (
    requests: AsyncIterable<ExecRequest>,
    context: { readonly signal: AbortSignal },
  ) => AsyncIterable<ExecResponse>,
): BoundService {
  return bind(TasksDefinition, {
    get: ({ ref }) => Task.fromPartial({ meta: { id: ref } }),
    list: () => ({ tasks: [], nextPageToken: "" }),
    async *logs() {},
    async *portForward() {},
    exec,
    stats: () => ({ stats: [], unreachableNodes: [] }),
  });
}

export async function serve(
  services: readonly BoundService[],
  more: Partial<ServerDependencies> = {},
  options: Partial<ServerOptions> = {},
): Promise<{ readonly server: ApiServer; readonly client: ApiClient; readonly socket: string }> {
  const socket = join(folder(), "m.sock");
  const server = await startServer({ services, ...more }, { socketPath: socket, ...options });
  const client = connect({ socket });
  onTestFinished(async () => {
    client.close();
    await server.close();
  });
  return { server, client, socket };
}

/** What membership will be: the certificate claims, the set of those who are in the cluster decides. */
export class TestDirectory implements Directory {
  readonly removed: Set<string> = new Set();
  readonly #root: X509Certificate;
  readonly #clusterId: string;

  constructor(root: X509Certificate, clusterId: string) {
    this.#root = root;
    this.#clusterId = clusterId;
  }

  identify(chain: Parameters<Directory["identify"]>[0]): Identity | Refusal {
    const purpose = "client";
    const facts = verifyChain(chain, { roots: [this.#root], clusterId: this.#clusterId, purpose, nowMs: Date.now() });
    if ("refused" in facts) return facts;
    const { name, role } = facts;
    const identity = { name, roles: [role], ...(role === "worker" ? { nodeId: name } : {}) };
    return this.confirm(identity) ?? identity;
  }

  confirm({ name }: Identity): Refusal | undefined {
    return this.removed.has(name)
      ? { refused: "NODE_REMOVED", message: `${name} was removed from the cluster` }
      : undefined;
  }
}
