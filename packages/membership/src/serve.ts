/** Services that are bound once, independent of the manager's part when they are called. */
import { ApiError, type ServiceDefinition } from "@warren/api";
import { bind, type BoundService, type Handlers, type Leadership } from "@warren/api/server";
import { lockedRefusal } from "./errors.ts";
import type { Member, Membership, Part } from "./membership.ts";

/**
 * The member, if this manager is one.
 *
 * @throws ApiError `API_UNAVAILABLE` while it has no cluster, `API_PRECONDITION` while it is locked
 */
export function memberOf<W>(part: Part<W>): Member<W> {
  switch (part.kind) {
    case "member":
      return part.member;
    case "none":
      throw new ApiError({ code: "API_UNAVAILABLE" }, "this manager has no cluster yet", {
        remedy: "make one with: warren cluster init",
      });
    case "locked":
      throw lockedRefusal(part.error);
  }
}

/**
 * Where a manager's calls are served, and the barrier of its reads. Each cluster has one manager, so all calls are served
 * here; that it leads is confirmed for each read all the same.
 */
export function leadershipOf<W>(membership: Pick<Membership<W>, "part">): Leadership {
  return {
    route: () => ({ kind: "here" }),
    barrier() {
      const { part } = membership;
      // Of a manager that is no member nothing is read: its handlers refuse the call.
      return part.kind === "member" ? part.member.store.barrier() : undefined;
    },
  };
}

/** A service whose handlers are looked up at each call in the manager's present membership. */
export function bindToMember<W, D extends ServiceDefinition>(
  definition: D,
  membership: Pick<Membership<W>, "part">,
  handlersOf: (member: Member<W>) => Handlers<D>,
): BoundService {
  type Handler = (request: unknown, context: unknown) => unknown;
  const handlers = Object.keys(definition.methods).map((name): readonly [string, Handler] => [
    name,
    (request, context) => {
      const handler = handlersOf(memberOf(membership.part))[name as keyof D["methods"]] as unknown as Handler;
      return handler(request, context);
    },
  ]);
  return bind(definition, Object.fromEntries(handlers) as unknown as Handlers<D>);
}
