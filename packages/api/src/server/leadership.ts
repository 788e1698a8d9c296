import type { LeaderConnection } from "../forwarding.ts";

/** Where calls that need the leader go now. */
export type LeaderRoute =
  /** This manager leads, or has no part in a cluster and answers for itself. */
  | { readonly kind: "here" }
  | { readonly kind: "leader"; readonly connection: LeaderConnection }
  /** No leader is known, or none can be reached. */
  | { readonly kind: "nobody"; readonly why: string };

/** Asked at each call, since leadership moves. */
export interface Leadership {
  route(): LeaderRoute;
}

/** Of a server that has no peers. */
export const alone: Leadership = { route: () => ({ kind: "here" }) };
