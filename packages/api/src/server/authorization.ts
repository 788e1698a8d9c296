import { ApiError } from "../errors.ts";
import { ClustersDefinition } from "../generated/warren/v1/cluster.ts";
import { DispatcherDefinition } from "../generated/warren/v1/dispatcher.ts";
import { EventsDefinition } from "../generated/warren/v1/event.ts";
import { NetworksDefinition } from "../generated/warren/v1/network.ts";
import { NodesDefinition } from "../generated/warren/v1/node.ts";
import { RegistriesDefinition } from "../generated/warren/v1/registry.ts";
import { ServicesDefinition } from "../generated/warren/v1/service.ts";
import { TasksDefinition } from "../generated/warren/v1/task.ts";
import { HealthDefinition } from "../generated/grpc/health/v1/health.ts";
import { ServerReflectionDefinition } from "../generated/grpc/reflection/v1/reflection.ts";
import { methodPath, type ServiceDefinition } from "../rpc.ts";

/** `client`: an operator. `worker`: a node, for itself. `manager`: another manager. */
export type Role = "manager" | "worker" | "client";

/** Who calls. */
export interface Identity {
  readonly name: string;
  readonly roles: readonly Role[];
}

/**
 * Whoever can open the local socket: mode 0600, so root or the manager's own user. It is the machine's operator and its
 * worker at once, and never another manager.
 */
export const localIdentity: Identity = Object.freeze({
  name: "local",
  roles: Object.freeze(["client", "worker"] as const),
});

/** Decides about a call before anything of it is read. Throws ApiError API_DENIED to refuse. */
export type Authorize = (identity: Identity, path: string) => void;

type MethodRoles<D extends ServiceDefinition> = Readonly<Record<keyof D["methods"], readonly Role[]>>;

/** The table. Every method must stand here, so that one that is added can't be open by mistake. */
const table = new Map<string, readonly Role[]>();
function allow<D extends ServiceDefinition>(definition: D, roles: MethodRoles<D>): void {
  for (const [name, method] of Object.entries(definition.methods))
    table.set(methodPath(definition, method), roles[name as keyof D["methods"]]);
}
const operators = ["client"] as const;
const workers = ["worker"] as const;
const all = ["manager", "worker", "client"] as const;

allow(ClustersDefinition, { init: operators, get: operators });
allow(ServicesDefinition, {
  create: operators,
  get: operators,
  list: operators,
  update: operators,
  scale: operators,
  rollback: operators,
  delete: operators,
  explain: operators,
});
allow(TasksDefinition, { get: operators, list: operators, logs: operators, exec: operators, stats: operators });
allow(NodesDefinition, { get: operators, list: operators, update: operators, remove: operators });
allow(NetworksDefinition, { create: operators, get: operators, list: operators, delete: operators });
allow(RegistriesDefinition, { login: operators, list: operators, logout: operators });
allow(EventsDefinition, { list: operators, follow: operators, watch: operators });
allow(DispatcherDefinition, {
  session: workers,
  heartbeat: workers,
  report: workers,
  assignments: workers,
  relay: workers,
});
allow(HealthDefinition, { check: all, watch: all });
allow(ServerReflectionDefinition, { serverReflectionInfo: all });

/** The roles that may call a method; none if it is not in the table. */
export function rolesOf(path: string): readonly Role[] {
  return table.get(path.replace("/grpc.reflection.v1alpha.", "/grpc.reflection.v1.")) ?? [];
}

/** By the table: the roles that each method names. What it does not name is refused. */
export const authorizeByRole: Authorize = (identity, path) => {
  const wanted = rolesOf(path);
  if (identity.roles.some((role) => wanted.includes(role))) return;
  throw new ApiError(
    { code: "API_DENIED" },
    `${path} is not for ${identity.name}, which is ${identity.roles.join(", ") || "nothing"}: it needs ${wanted.join(" or ") || "a role that nobody has"}`,
  );
};
