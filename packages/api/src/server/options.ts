import { ServerError } from "./errors.ts";

export interface ServerOptions {
  /** Where to listen. Made with mode 0600; its folder is made if it is missing. */
  readonly socketPath: string;
  /** Largest request taken, bytes; more is RESOURCE_EXHAUSTED. @default 4 MiB */
  readonly maxRequestBytes?: number;
  /** Calls under way on one connection. @default 1000 */
  readonly maxConcurrentCalls?: number;
}

export type ResolvedServerOptions = Required<ServerOptions>;

/** @throws ServerError `SERVER_OPTIONS_INVALID` */
export function resolveServerOptions(options: ServerOptions): ResolvedServerOptions {
  const resolved = { maxRequestBytes: 4 * 1024 * 1024, maxConcurrentCalls: 1_000, ...options };
  const refuse = (option: string, why: string): never => {
    throw new ServerError({ code: "SERVER_OPTIONS_INVALID", option }, `${option}: ${why}`);
  };
  if (!resolved.socketPath.startsWith("/")) refuse("socketPath", `want an absolute path, not '${resolved.socketPath}'`);
  for (const option of ["maxRequestBytes", "maxConcurrentCalls"] as const) {
    if (!Number.isSafeInteger(resolved[option]) || resolved[option] < 1) refuse(option, "want a whole number above 0");
  }
  return Object.freeze(resolved);
}
