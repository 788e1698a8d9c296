import { ApiError } from "../errors.ts";

export interface ConnectOptions {
  /** Path of the manager's Unix socket. */
  readonly socket: string;
  /** How long a call that gives one answer may take, ms. Streams last until they end. @default 10000 */
  readonly deadlineMs?: number;
  /** Largest answer taken, bytes. @default 16 MiB */
  readonly maxMessageBytes?: number;
}

export interface CallOptions {
  /** Its abort ends the call, on the server too; the call then fails with API_CANCELLED. */
  readonly signal?: AbortSignal;
  /** In place of the connection's; also bounds a stream. 0: none. */
  readonly deadlineMs?: number;
}

export type ResolvedConnectOptions = Required<ConnectOptions>;

/** A Unix socket's path, its final NUL included, fits this. */
const socketPathBytes = 108;

/** @throws ApiError `API_INVALID` */
export function resolveConnectOptions(options: ConnectOptions): ResolvedConnectOptions {
  const resolved = { deadlineMs: 10_000, maxMessageBytes: 16 * 1024 * 1024, ...options };
  const refuse = (field: string, description: string): never => {
    throw new ApiError({ code: "API_INVALID", violations: [{ field, description }] }, `${field}: ${description}`);
  };
  if (resolved.socket === "" || Buffer.byteLength(resolved.socket) >= socketPathBytes)
    refuse("socket", `want a path of 1 to ${socketPathBytes - 1} bytes, not '${resolved.socket}'`);
  if (!(resolved.deadlineMs >= 0)) refuse("deadlineMs", "want 0 or more");
  if (!Number.isSafeInteger(resolved.maxMessageBytes) || resolved.maxMessageBytes < 1)
    refuse("maxMessageBytes", "want a whole number above 0");
  return Object.freeze(resolved);
}
