import { formatHostPort, parseHostPort } from "@warren/std";
import type { CredentialSource } from "../credentials.ts";
import { ApiError } from "../errors.ts";

interface Limits {
  /** Deadline of a call with one response, ms. Streams have none. @default 10000 */
  readonly deadlineMs?: number;
  /** Largest response message that is accepted, bytes. @default 16 MiB */
  readonly maxMessageBytes?: number;
}

/** To the manager of this machine. */
export interface SocketOptions extends Limits {
  /** Path of the manager's Unix socket. */
  readonly socket: string;
}

/** To a manager of a cluster, over TLS 1.3 with certificates on both sides. */
export interface HostOptions extends Limits {
  /** `ADDRESS[:PORT]` of any manager; an IPv6 address in brackets. @default port 2377 */
  readonly host: string;
  /** The server's certificate must be one of this cluster's managers, whatever its address. */
  readonly clusterId: string;
  /** Read for each connection. */
  readonly credentials: CredentialSource;
}

export type ConnectOptions = SocketOptions | HostOptions;

export interface CallOptions {
  /** Its abort ends the call, on the server too; the call then fails with API_CANCELLED. */
  readonly signal?: AbortSignal;
  /** In place of the connection's; also bounds a stream. 0: none. */
  readonly deadlineMs?: number;
  /** Whether the called manager may answer a read from its own state, which may be behind the leader's. @default false */
  readonly stale?: boolean;
}

export interface ResolvedConnectOptions extends Required<Limits> {
  /** The socket or host as given, for messages. */
  readonly target: string;
  /** In the form of grpc-js. */
  readonly uri: string;
  /** The name that the server's certificate must have; undefined for a Unix socket. */
  readonly serverName: string | undefined;
  readonly credentials: CredentialSource | undefined;
}

/** Size of the kernel's field for a Unix socket's path and its final NUL. */
const socketPathBytes = 108;

const managerPort = 2377;

/** @throws ApiError `API_INVALID` */
export function resolveConnectOptions(options: ConnectOptions): ResolvedConnectOptions {
  const limits = { deadlineMs: 10_000, maxMessageBytes: 16 * 1024 * 1024, ...options };
  if (!(limits.deadlineMs >= 0)) refuse("deadlineMs", "want 0 or more");
  if (!Number.isSafeInteger(limits.maxMessageBytes) || limits.maxMessageBytes < 1)
    refuse("maxMessageBytes", "want a whole number above 0");
  const { deadlineMs, maxMessageBytes } = limits;
  return Object.freeze({ deadlineMs, maxMessageBytes, ...("socket" in options ? local(options) : remote(options)) });
}

type Target = Omit<ResolvedConnectOptions, keyof Limits>;

function local({ socket }: SocketOptions): Target {
  if (socket === "" || Buffer.byteLength(socket) >= socketPathBytes)
    refuse("socket", `want a path of 1 to ${socketPathBytes - 1} bytes, not '${socket}'`);
  return { target: socket, uri: `unix:${socket}`, serverName: undefined, credentials: undefined };
}

function remote({ host, clusterId, credentials }: HostOptions): Target {
  const address = parseHostPort(host, managerPort);
  if (address === undefined || address.port === 0)
    return refuse("host", `want ADDRESS or ADDRESS:PORT of a manager, not '${host}'`);
  const target = formatHostPort(address);
  return { target, uri: `dns:${target}`, serverName: managerName(clusterId), credentials };
}

function refuse(field: string, description: string): never {
  throw new ApiError({ code: "API_INVALID", violations: [{ field, description }] }, `${field}: ${description}`);
}

/** The name that every manager of a cluster has in its certificate. */
function managerName(clusterId: string): string {
  return `manager.${clusterId}.warren`;
}
