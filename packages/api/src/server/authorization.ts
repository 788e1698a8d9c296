import { ApiError } from "../errors.ts";
import { ClustersDefinition } from "../generated/warren/v1/cluster.ts";
import { DispatcherDefinition } from "../generated/warren/v1/dispatcher.ts";
import { EventsDefinition } from "../generated/warren/v1/event.ts";
import { ImagesDefinition } from "../generated/warren/v1/image.ts";
import { NetworksDefinition } from "../generated/warren/v1/network.ts";
import { NodesDefinition } from "../generated/warren/v1/node.ts";
import { RegistriesDefinition } from "../generated/warren/v1/registry.ts";
import { ServicesDefinition } from "../generated/warren/v1/service.ts";
import { TasksDefinition } from "../generated/warren/v1/task.ts";
import { VolumesDefinition } from "../generated/warren/v1/volume.ts";
import { HealthDefinition } from "../generated/grpc/health/v1/health.ts";
import { ServerReflectionDefinition } from "../generated/grpc/reflection/v1/reflection.ts";
import type { Identity, Role } from "../identity.ts";
import { methodPath, type ServiceDefinition } from "../rpc.ts";

/** Decides whether a caller may call a method, before any message is read. Throws ApiError API_DENIED to refuse. */
export type Authorize = (identity: Identity, path: string) => void;

/**
 * The manager that serves a call. `leader`: the leader, whichever manager is called. `reads`: the leader too, unless the
 * caller accepts a stale response. `here`: the manager that is called.
 */
export type Place = "leader" | "reads" | "here";

interface Row {
  readonly roles: readonly Role[];
  readonly place: Place;
  /**
   * Whether its handler decides by a state that was read before anything is written. Such a call waits for the barrier of
   * linearizable reads, since a manager that was deposed does not know of it at once. A stale read does not wait.
   */
  readonly reads: boolean;
}

type Rows<D extends ServiceDefinition> = Readonly<Record<keyof D["methods"], Row>>;

/** Every method must be in this table, so that a new method can't be open by mistake. */
const table = new Map<string, Row>();
function allow<D extends ServiceDefinition>(definition: D, rows: Rows<D>): void {
  for (const [name, method] of Object.entries(definition.methods))
    table.set(methodPath(definition, method), rows[name as keyof D["methods"]]);
}
/** One transaction, whose outcome the store confirms. */
const write: Row = { roles: ["client"], place: "leader", reads: false };
const read: Row = { roles: ["client"], place: "reads", reads: true };
/** Looks at the state, and writes after that. */
const readAndWrite: Row = { roles: ["client"], place: "leader", reads: true };
/** Served through a worker's session, which is at the leader; the state has which worker. */
const relayed: Row = { roles: ["client"], place: "leader", reads: true };
/** Nodes' calls. A session waits for the barrier itself, and what is assigned says of which state it is. */
const session: Row = { roles: ["worker"], place: "leader", reads: false };
const anyone: Row = { roles: ["manager", "worker", "client"], place: "here", reads: false };

// A manager without a cluster creates one itself.
allow(ClustersDefinition, { init: { roles: ["client"], place: "here", reads: false }, get: read });
allow(ServicesDefinition, {
  create: readAndWrite,
  get: read,
  list: read,
  update: readAndWrite,
  // A node resolves the image.
  planUpdate: relayed,
  restart: write,
  scale: write,
  rollback: write,
  history: read,
  delete: write,
  explain: read,
});
allow(TasksDefinition, { get: read, list: read, logs: relayed, exec: relayed, portForward: relayed, stats: relayed });
allow(NodesDefinition, { get: read, list: read, update: write, remove: write });
allow(NetworksDefinition, { create: write, get: read, list: read, delete: write });
// The login is checked by a node, and without a password it is the stored one.
allow(RegistriesDefinition, { login: relayed, list: read, logout: write });
allow(VolumesDefinition, { list: relayed, delete: relayed });
allow(ImagesDefinition, { list: relayed, prune: relayed });
allow(EventsDefinition, { list: read, follow: read, watch: read });
allow(DispatcherDefinition, {
  session,
  heartbeat: session,
  report: session,
  assignments: session,
  relay: session,
});
allow(HealthDefinition, { check: anyone, watch: anyone });
allow(ServerReflectionDefinition, { serverReflectionInfo: anyone });

function rowOf(path: string): Row | undefined {
  return table.get(path.replace("/grpc.reflection.v1alpha.", "/grpc.reflection.v1."));
}

/** The roles that may call a method; none if it is not in the table. */
export function rolesOf(path: string): readonly Role[] {
  return rowOf(path)?.roles ?? [];
}

/** The manager that serves a method. A method that is not in the table is refused by the called one. */
export function placeOf(path: string): Place {
  return rowOf(path)?.place ?? "here";
}

/** Whether a method's handler decides by the state that it reads, so that its call waits for the barrier. */
export function readsState(path: string): boolean {
  return rowOf(path)?.reads ?? false;
}

/** Allows the roles that the table has for the method, and refuses methods that are not in it. */
export const authorizeByRole: Authorize = (identity, path) => {
  const wanted = rolesOf(path);
  if (identity.roles.some((role) => wanted.includes(role))) return;
  throw new ApiError(
    { code: "API_DENIED" },
    `${path} is not for ${identity.name}, which is ${identity.roles.join(", ") || "nothing"}: it needs ${wanted.join(" or ") || "a role that nobody has"}`,
  );
};
