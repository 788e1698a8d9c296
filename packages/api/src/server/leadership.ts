import type { LeaderConnection } from "../forwarding.ts";

/** The route of calls that need the leader. */
export type LeaderRoute =
  /** This manager leads, or has no cluster and serves its calls itself. */
  | { readonly kind: "here" }
  | { readonly kind: "leader"; readonly connection: LeaderConnection }
  /** No leader is known, or none can be reached. */
  | { readonly kind: "nobody"; readonly why: string };

/** Read at each call, since the leader may change. */
export interface Leadership {
  route(): LeaderRoute;
  /**
   * The barrier of a linearizable read: resolves once all that any manager had acknowledged before the call is in the
   * state that handlers read here. Undefined where no other manager can have acknowledged anything.
   *
   * @throws errors with a status, when no leader confirms it
   */
  barrier(): Promise<void> | undefined;
}

/** Of a server that has no peers. */
export const alone: Leadership = { route: () => ({ kind: "here" }), barrier: () => undefined };
