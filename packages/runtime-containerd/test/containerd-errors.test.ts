/** What containerd and runc say, in the words of this package. */
import { status, type ServiceError } from "@grpc/grpc-js";
import { errorText } from "@warren/std";
import { expect, test } from "vitest";
import { fromGrpc } from "../src/connection.ts";

const failed = "failed to create shim task: OCI runtime create failed: runc create failed: ";
const process = `${failed}unable to start container process: `;

test.for([
  [
    `${process}exec: "/app": stat /app: no such file or directory: unknown`,
    "command",
    `exec: "/app": stat /app: no such file or directory`,
  ],
  [
    `${process}error during container init: open /proc/sys/net/ipv4/nope: no such file or directory: unknown`,
    "sysctls",
    "open /proc/sys/net/ipv4/nope: no such file or directory",
  ],
  [
    `${process}error during container init: error mounting "/a" to rootfs at "/b": stat /a: no such file or directory: unknown`,
    "mounts",
    `error mounting "/a" to rootfs at "/b": stat /a: no such file or directory`,
  ],
  [
    `${process}chdir to cwd ("/no") set in config.json failed: permission denied: unknown`,
    "workingDir",
    `chdir to cwd ("/no") set in config.json failed: permission denied`,
  ],
] as const)("a container that runc can't make is refused with its reason, once: %s", ([details, field, reason]) => {
  const raw = Object.assign(new Error(`2 UNKNOWN: ${details}`), { code: status.UNKNOWN, details }) as ServiceError;
  const error = fromGrpc(raw);
  expect(error.failure).toEqual({ code: "RUNTIME_SPEC_INVALID", field });
  expect(errorText(error)).toBe(`${field} can't be used: ${reason}`);
});
