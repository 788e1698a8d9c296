/** Whole commands against a manager that is played. */
import { join } from "node:path";
import { Config, Errors } from "@oclif/core";
import { ApiError } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { expect, onTestFinished, test, vi } from "vitest";
import { PortForward } from "../src/commands/port-forward.ts";
import { Run } from "../src/commands/run.ts";
import { ServiceLogs } from "../src/commands/service.ts";
import { VolumeDelete } from "../src/commands/volume.ts";
import { WarrenCommand } from "../src/warren-command.ts";

type CommandClass = new (
  argv: string[],
  config: Config,
) => WarrenCommand & { _run(): Promise<unknown>; connect(host: string): Promise<ApiClient> };

const config = new Config({ root: join(import.meta.dirname, "..") });
Object.assign(config, { bin: "warren", runHook: async () => ({ successes: [], failures: [] }) });

/** What a command writes, and its exit code. */
async function ran(command: unknown, argv: readonly string[], client: unknown) {
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    const spy = vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += String(text);
      return true;
    });
    onTestFinished(() => spy.mockRestore());
  }
  const made = new (command as CommandClass)([...argv], config);
  made.connect = async () => client as ApiClient;
  const exit = await made._run().then(
    () => 0,
    (error: unknown) => {
      if (!(error instanceof Errors.ExitError)) throw error;
      return error.oclif.exit;
    },
  );
  return { ...written, exit };
}

const nothing = (ref: string): ApiError => new ApiError({ code: "API_NOT_FOUND", kind: "", ref }, `there is no ${ref}`);

test("a port of a task that is not there is refused before anything listens", async () => {
  const get = async ({ ref }: { readonly ref: string }): Promise<never> => {
    throw nothing(ref);
  };
  for (const ref of ["nope", "web.9"])
    expect(await ran(PortForward, [ref, ":80"], { services: { get }, tasks: { get } })).toEqual({
      stdout: "",
      stderr: `error: there is no ${ref}\n`,
      exit: 1,
    });
});

test("of several volumes each is tried, and each failure is reported", async () => {
  const remove = async ({ name }: { readonly name: string }): Promise<object> => {
    if (name === "b") return {};
    throw nothing(name);
  };
  expect(await ran(VolumeDelete, ["a", "b", "c", "b"], { volumes: { delete: remove } })).toEqual({
    stdout: "b\n",
    stderr: "error: a: there is no a\nerror: c: there is no c\nerror: 2 of 3 could not be deleted\n",
    exit: 1,
  });
});

test("flags that contradict each other are named", async () => {
  const { stderr, exit } = await ran(ServiceLogs, ["web", "-p", "-f"], {});
  expect({ stderr, exit }).toEqual({
    stderr: "error: --follow and --previous contradict each other\nsee: warren  --help\n",
    exit: 2,
  });
});

test("an argument that is missing is named, and nothing false is said of flags", async () => {
  const { stderr } = await ran(Run, ["--rm"], {});
  expect(stderr).toContain("image");
  expect(stderr).not.toContain("before providing");
});

test("a command that prints on and on ends once its output is closed", async () => {
  const signals: AbortSignal[] = [];
  class Endless extends WarrenCommand {
    async run(): Promise<void> {
      signals.push(this.interrupted, this.interrupted);
    }
  }
  await ran(Endless, [], {});
  const [signal] = signals as [AbortSignal];
  for (const stream of [process.stdout, process.stderr]) expect(stream.listenerCount("error")).toBeLessThan(4);
  expect(signal.aborted).toBe(false);
  process.stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
  expect(signal.aborted).toBe(true);
});
