/**
 * A call as data, forwarded by a manager that does not lead to the one that leads.
 */
import { ApiError } from "./errors.ts";
import type { Identity, Role } from "./identity.ts";

/** Metadata: the caller's identity, as determined by the manager that received the call. Accepted only from managers. */
export const forwardedIdentityKey = "warren-forwarded-identity";

/** Metadata: with `stale` the called manager may answer a read from its own state, which may be behind. */
export const readKey = "warren-read";

export interface ForwardedCall {
  /** `/warren.v1.Services/Create` */
  readonly path: string;
  /** Whether the call has one response. */
  readonly unary: boolean;
  /** The caller. */
  readonly identity: Identity;
  /** Encoded messages; of a call that is not a stream, one. */
  readonly requests: AsyncIterable<Uint8Array>;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  /** Time until the caller's deadline, ms. */
  readonly deadlineMs: number | undefined;
}

/** A connection to the leader's pipeline, authenticated as a manager. */
export interface LeaderConnection {
  /** Encoded responses; ends when `signal` is aborted. Throws ApiError. */
  call(call: ForwardedCall): AsyncIterable<Uint8Array>;
}

/** Metadata of a forwarded call. */
export function forwardedMetadata({ identity }: ForwardedCall): readonly (readonly [string, string])[] {
  return [[forwardedIdentityKey, Buffer.from(JSON.stringify(identity)).toString("base64url")]];
}

const roles: ReadonlySet<unknown> = new Set<Role>(["manager", "worker", "client"]);

/** @throws ApiError `API_INVALID` */
export function readForwardedIdentity(text: string): Identity {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    value = undefined; // Refused below, like any other value that is not an identity.
  }
  const { name, roles: claimed, nodeId } = (value ?? {}) as Partial<Record<keyof Identity, unknown>>;
  const known = Array.isArray(claimed) && claimed.every((role) => roles.has(role));
  if (typeof name !== "string" || !known || (nodeId !== undefined && typeof nodeId !== "string")) {
    const description = "want a name and roles, as a manager of this version sends them";
    throw new ApiError(
      { code: "API_INVALID", violations: [{ field: forwardedIdentityKey, description }] },
      `${forwardedIdentityKey}: ${description}`,
    );
  }
  return { name, roles: claimed as readonly Role[], ...(nodeId === undefined ? {} : { nodeId }) };
}
