import { constants } from "node:os";

const names: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/**
 * The kernel refused a request. `code` is errno's name (`EEXIST`, `ENODEV`, `EPERM`, …), or `EINVAL` for an argument that
 * never reached it.
 *
 * The class is recognised by its name, as all error classes of Warren are, so `is` holds across copies of this package.
 */
export class NetlinkError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "NetlinkError";
    this.code = code;
  }

  /** Whether `value` is a NetlinkError; with `codes`, one of these. */
  static is(value: unknown, ...codes: readonly string[]): value is NetlinkError {
    if (!(value instanceof Error) || (codes.length > 0 && !codes.includes((value as NetlinkError).code))) return false;
    for (let type: unknown = value.constructor; typeof type === "function"; type = Object.getPrototypeOf(type)) {
      if (type.name === this.name) return true;
    }
    return false;
  }
}

/** The addon rejects with `ERRNO|text`; any other error is a fault of the program and is returned unchanged. */
export function toNetlinkError(doing: string, error: unknown): unknown {
  const parts = error instanceof Error ? /^(\d+)\|(.*)$/s.exec(error.message) : null;
  if (parts === null) return error;
  const code = names.get(Number(parts[1])) ?? "EINVAL";
  return new NetlinkError(code, `cannot ${doing}: ${parts[2]}`, { cause: error });
}
