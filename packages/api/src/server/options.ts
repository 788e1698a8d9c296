import { admissionDefaults, type AdmissionOptions } from "./admission.ts";
import { ServerError } from "./errors.ts";

export interface ServerOptions extends AdmissionOptions {
  /** Path of the Unix socket. Created with mode 0600; its folder is created if it is missing. */
  readonly socketPath: string;
  /** Calls under way on one connection. @default 1000 */
  readonly maxConcurrentCalls?: number;
}

export type ResolvedServerOptions = Required<ServerOptions>;

function refuse(option: string, why: string): never {
  throw new ServerError({ code: "SERVER_OPTIONS_INVALID", option }, `${option}: ${why}`);
}

function checkWhole(option: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) refuse(option, "want a whole number above 0");
}

/** @throws ServerError `SERVER_OPTIONS_INVALID` */
export function resolveAdmissionOptions(options: AdmissionOptions): Required<AdmissionOptions> {
  const resolved = { ...admissionDefaults, ...options };
  for (const option of Object.keys(admissionDefaults) as (keyof AdmissionOptions)[])
    checkWhole(option, resolved[option]);
  return Object.freeze(resolved);
}

/** @throws ServerError `SERVER_OPTIONS_INVALID` */
export function resolveServerOptions(options: ServerOptions): ResolvedServerOptions {
  const resolved = { maxConcurrentCalls: 1_000, ...options, ...resolveAdmissionOptions(options) };
  if (!resolved.socketPath.startsWith("/")) refuse("socketPath", `want an absolute path, not '${resolved.socketPath}'`);
  checkWhole("maxConcurrentCalls", resolved.maxConcurrentCalls);
  return Object.freeze(resolved);
}
