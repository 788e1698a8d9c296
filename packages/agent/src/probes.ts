import { request } from "node:http";
import { connect } from "node:net";
import type { HealthCheck } from "@warren/api";
import { RuntimeError, type Runtime } from "@warren/runtime";
import { ProbeSkipped } from "./health.ts";
import type { ProbeTransport } from "./seams.ts";

/** Bytes of a failed probe's output that are reported. */
const outputBytes = 200;

/** HTTP and TCP from this process. */
export const nodeProbes: ProbeTransport = {
  http: ({ address, port, path }, signal) =>
    new Promise((resolve, reject) => {
      const call = request({ host: address, port, path, signal, agent: false }, (response) => {
        resolve(response.statusCode ?? 0);
        response.on("error", () => undefined);
        response.destroy();
      });
      call.on("error", reject);
      call.end();
    }),
  tcp: ({ address, port }, signal) =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: address, port });
      const abort = (): void => void socket.destroy(signal.reason as Error);
      signal.addEventListener("abort", abort, { once: true });
      socket.on("close", () => signal.removeEventListener("abort", abort));
      socket.on("error", reject);
      socket.on("connect", () => {
        resolve();
        socket.destroy();
      });
      if (signal.aborted) abort();
    }),
};

export interface ProbedTask {
  readonly containerId: string;
  readonly address: string;
}

/** The probe that a health check asks for. */
export function probeOf(
  check: HealthCheck,
  task: ProbedTask,
  dependencies: { readonly runtime: Pick<Runtime, "exec">; readonly transport: ProbeTransport },
): (signal: AbortSignal) => Promise<void> {
  const { probe } = check;
  const { address } = task;
  switch (probe?.$case) {
    case "http": {
      const { port, path } = probe.value;
      return async (signal) => {
        const status = await dependencies.transport.http({ address, port, path: path || "/" }, signal);
        if (status < 200 || status > 399) throw new Error(`GET :${port}${path || "/"} answers ${status}`);
      };
    }
    case "tcp": {
      const { port } = probe.value;
      return (signal) => dependencies.transport.tcp({ address, port }, signal);
    }
    case "exec": {
      const { command } = probe.value;
      return (signal) => execProbe(dependencies.runtime, task.containerId, command, signal);
    }
    case "none":
    case undefined:
      throw new Error("assertion failed: a health check has a probe");
    default:
      return probe satisfies never;
  }
}

async function execProbe(
  runtime: Pick<Runtime, "exec">,
  containerId: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  let output = Buffer.alloc(0);
  const keep = (): WritableStream<Uint8Array> =>
    new WritableStream({
      write: (chunk) => {
        output = Buffer.concat([output, chunk]).subarray(0, outputBytes);
      },
    });
  // The signal ends the process, with its children, also one that is about to start.
  try {
    const process = await runtime.exec(containerId, { args }, { stdout: keep(), stderr: keep() }, signal);
    const { code } = await process.exit;
    if (code !== 0) throw new Error(`${args[0] ?? ""} exits with ${code}${tail(output)}`);
  } catch (error) {
    if (RuntimeError.is(error, "RUNTIME_UNAVAILABLE") || RuntimeError.is(error, "RUNTIME_WRONG_STATE"))
      throw new ProbeSkipped("the runtime can't run the probe", { cause: error });
    throw error;
  }
}

function tail(output: Buffer): string {
  const text = output.toString("utf8").trim().replaceAll(/\s+/g, " ");
  return text === "" ? "" : `: ${text}`;
}
