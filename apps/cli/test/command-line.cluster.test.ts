/** The command line as a user meets it: terminals, followed streams, completion, bad input. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "@warren/std/testing";
import { Machine } from "./machine.ts";

let machine: Machine;
let image: string;
beforeAll(async () => {
  machine = await Machine.start();
  image = await machine.push("cli/base:1", { config: { Cmd: ["sleep", "1000000"] } });
  await machine.ok("service", "create", "box", "--image", image, "--stop-signal", "KILL");
}, 120_000);
afterAll(() => machine[Symbol.asyncDispose](), 120_000);

describe("exec", () => {
  test("passes stdin, stdout, stderr and the exit code", async () => {
    const command = [
      "task",
      "exec",
      "-i",
      "box.1",
      "--env",
      "A=1",
      "--workdir",
      "/etc",
      "--",
      "sh",
      "-c",
      "cat; echo $A $PWD >&2; exit 9",
    ];
    expect(await machine.pipe("typed\n", ...command)).toEqual({ code: 9, stdout: "typed\n", stderr: "1 /etc\n" });
  });

  test("passes a megabyte both ways, unharmed", async () => {
    const text = Array.from({ length: 20_000 }, (_, i) => `line ${i} of what is passed through and back again\n`).join(
      "",
    );
    const { stdout } = await machine.pipe(text, "task", "exec", "-i", "box.1", "--", "cat");
    expect(stdout === text).toBe(true);
  });

  test("on a terminal it has a terminal: its size, its changes, and what is typed", async () => {
    // util-linux's `script` gives the command a terminal of its own.
    const warren = `${process.execPath} ${machine.program} task exec -it box.1 -- sh`;
    const terminal = spawn("script", ["-qfec", `stty cols 97 rows 31; ${warren}`, "/dev/null"], { env: machine.env });
    let seen = "";
    terminal.stdout.on("data", (data: Buffer) => (seen += data.toString()));
    terminal.stdin.write("stty size; echo a''b\n");
    await until("the shell answers", () => seen.includes("31 97") && seen.includes("ab"), 20_000);
    // What is typed is for the shell in the container: Ctrl-C ends its child and not the connection.
    terminal.stdin.write("sleep 1007\n");
    const sleeps = "grep -lz '^sleep$' /proc/[0-9]*/cmdline | xargs -n1 grep -cz 1007 || true";
    await until(
      "it sleeps",
      async () => (await machine.ok("task", "exec", "box.1", "--", "sh", "-c", sleeps)).trim() !== "",
      20_000,
    );
    terminal.stdin.write("\u0003");
    terminal.stdin.write("exit 5\n");
    const [code] = (await once(terminal, "exit")) as [number];
    expect(code).toBe(5);
  });

  test("a signal is passed on", async () => {
    const child = machine.spawn(
      "task",
      "exec",
      "box.1",
      "--",
      "sh",
      "-c",
      "trap 'echo got; exit 4' TERM; echo ready; while :; do sleep 0.1; done",
    );
    let seen = "";
    child.stdout?.on("data", (data: Buffer) => (seen += data.toString()));
    await until("it is ready", () => seen.includes("ready"), 20_000);
    child.kill("SIGTERM");
    const [code] = (await once(child, "close")) as [number];
    expect([code, seen]).toEqual([4, "ready\ngot\n"]);
  });

  test("what can't be run is refused in one line", async () => {
    const { code, stderr } = await machine.warren("task", "exec", "box.1", "--", "no-such-program");
    expect(code).not.toBe(0);
    expect(stderr).toContain("no-such-program");
    expect((await machine.warren("task", "exec", "box.7", "--", "ls")).stderr).toContain("box.7");
  });
});

describe("logs", () => {
  const counting = "i=0; while :; do echo out-$i; echo err-$i >&2; i=$((i+1)); sleep 0.05; done";

  test("are followed across a restart of the worker without losing a line", async () => {
    await machine.ok(
      "service",
      "create",
      "count",
      "--image",
      image,
      "--stop-signal",
      "KILL",
      "--",
      "sh",
      "-c",
      counting,
    );
    await until("it has begun", async () => (await machine.ok("service", "logs", "count")).includes("out-5"), 20_000);
    await machine.killDaemon("worker");
    await machine.startDaemon("worker");
    await machine.nodeReady();
    const following = machine.spawn("service", "logs", "count", "--follow", "--no-names");
    let seen = "";
    following.stdout?.on("data", (data: Buffer) => (seen += data.toString()));
    await until("it goes on", () => seen.includes("out-40\n"), 30_000);
    following.kill("SIGINT");
    await once(following, "close");
    const numbers = [...seen.matchAll(/^out-(\d+)$/gm)].map(([, n]) => Number(n));
    expect(numbers).toEqual(numbers.map((_, i) => i));
  });

  test("have times, tails, beginnings and both streams", async () => {
    const { stdout, stderr } = await machine.warren("service", "logs", "count", "--tail", "4", "--timestamps");
    const lines = (stdout + stderr).trim().split("\n");
    expect(lines).toHaveLength(4);
    for (const line of lines)
      expect(line).toMatch(/^count\.1 \| \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (out|err)-\d+$/);
    expect(stdout).toContain("out-");
    expect(stderr).toContain("err-");
    expect((await machine.warren("service", "logs", "count", "--since", "1h")).stdout).toContain("out-0\n");
    const later = new Date(Date.now() + 3_600_000).toISOString();
    expect((await machine.warren("service", "logs", "count", "--since", later)).stdout).toBe("");
  });
});

test("events are followed as they happen, an object a line", async () => {
  const following = machine.spawn("events", "--follow", "-o", "json");
  let seen = "";
  following.stdout?.on("data", (data: Buffer) => (seen += data.toString()));
  const told = (action: string, name: string): boolean =>
    seen
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { objectName: string; action: string })
      .some((event) => event.action === action && event.objectName.startsWith(name));
  // It tells what happens from when it has begun, which shows by its first line.
  let networks = 0;
  await until("it has begun", async () => {
    await machine.client.networks.create({ spec: { name: `sign-of-life-${networks++}` } });
    return told("created", "sign-of-life");
  });
  await machine.ok("service", "create", "noted", "--image", image, "--stop-signal", "KILL");
  await until("both are told", () => told("created", "noted") && told("started", "noted"), 20_000);
  following.kill("SIGINT");
  await once(following, "close");
  expect(await machine.ok("events", "--object", "noted")).toContain("noted");
});

test("top measures what runs", async () => {
  await machine.ok(
    "service",
    "create",
    "busy",
    "--image",
    image,
    "--stop-signal",
    "KILL",
    "--",
    "sh",
    "-c",
    "while :; do :; done",
  );
  const table = await machine.ok("top", "busy");
  const cpu = Number(/busy\.1\s+\S+\s+([\d.]+) %/.exec(table)?.[1]);
  expect(cpu).toBeGreaterThan(5);
  const { stats } = JSON.parse(await machine.ok("top", "busy", "-o", "json")) as { stats: { memoryBytes: string }[] };
  expect(Number(stats[0]?.memoryBytes)).toBeGreaterThan(0);
  await machine.ok("service", "delete", "busy");
});

test("an object is named by name, id and unique prefix; json is the API's message", async () => {
  const { meta, spec } = JSON.parse(await machine.ok("service", "inspect", "box", "-o", "json")) as {
    meta: { id: string };
    spec: { name: string };
  };
  expect(spec.name).toBe("box");
  for (const ref of [meta.id, meta.id.slice(0, 10)])
    expect(await machine.ok("service", "inspect", ref, "-o", "name")).toBe("box\n");
  expect(await machine.ok("service", "inspect", "box")).toContain("name: box");
});

test("networks separate: a name of another network is not known, and its address not reached", async () => {
  await machine.ok("network", "create", "back");
  await machine.ok(
    "service",
    "create",
    "hidden",
    "--image",
    image,
    "--network",
    "back",
    "--stop-signal",
    "KILL",
    "--",
    "httpd",
    "-f",
    "-p",
    "80",
    "-h",
    "/etc",
  );
  const [hidden] = await machine.running("hidden");
  const address = hidden?.status?.container?.address ?? "";
  expect((await machine.warren("task", "exec", "box.1", "--", "nslookup", "hidden")).code).not.toBe(0);
  expect((await machine.warren("task", "exec", "box.1", "--", "nc", "-w", "2", address, "80")).code).not.toBe(0);
  await machine.ok(
    "service",
    "create",
    "both",
    "--image",
    image,
    "--network",
    "back",
    "--network",
    "default",
    "--stop-signal",
    "KILL",
  );
  expect(await machine.ok("task", "exec", "both.1", "--", "wget", "-qO-", "http://hidden/hostname")).not.toBe("");
  expect((await machine.warren("network", "delete", "back")).stderr).toContain("hidden");
});

/** What each shell runs: its completion of `warren service inspect bo`, with the script that we print. */
const asked: Readonly<Record<string, string>> = {
  bash: `source "$SCRIPT"; COMP_WORDS=(warren service inspect bo); COMP_CWORD=3; _warren; echo "\${COMPREPLY[@]}"`,
  zsh: `compdef() { : }; compadd() { print -r -- "\${found[@]}" }; source "$SCRIPT"; words=(warren service inspect bo); CURRENT=4; _warren`,
  fish: `source "$SCRIPT"; complete -C "warren service inspect bo"`,
};

test.for(Object.keys(asked))("completion works in a real %s", async (shell) => {
  const folder = await mkdtemp(join(tmpdir(), "warren-completion-"));
  const script = join(folder, "script");
  await writeFile(script, await machine.ok("completion", shell));
  await writeFile(join(folder, "warren"), `#!/bin/sh\nexec ${process.execPath} ${machine.program} "$@"\n`, {
    mode: 0o755,
  });
  const env = { ...machine.env, SCRIPT: script, PATH: `${folder}:${process.env["PATH"]}` };
  const child = spawn(shell, ["-c", asked[shell] ?? ""], { env, stdio: ["ignore", "pipe", "inherit"] });
  let stdout = "";
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  await once(child, "close");
  expect(stdout.trim().split(/\s+/)).toContain("box");
});

test.for([
  [["service", "create", "Bad_Name!", "--image", "x"], 1, /NAME: .*Bad_Name/],
  [["service", "create", "x", "--image", "not a reference"], 1, /--image: /],
  [["service", "create", "x", "--image", "x", "--network", "nowhere"], 1, /nowhere/],
  [["service", "create", "box", "--image", "x"], 1, /box.*already|already.*box|taken/],
  [["service", "create", "x", "--image", "x", "--mount", "src=a,dst=relative"], 1, /--mount: .*relative/],
  [["service", "create", "x", "--image", "x", "--constraint", "node.colour == red"], 1, /--constraint: .*node\.colour/],
  [["service", "create", "x", "--image", "x", "--sysctl", "kernel.panic=1"], 1, /--sysctl kernel\.panic: /],
  [["service", "create", "x", "--image", "x", "--replicas", "100001"], 1, /replicas/],
  [["service", "scale", "nothing=3"], 1, /nothing/],
  [["service", "scale", "box"], 2, /SERVICE=REPLICAS/],
  [["service", "scale", "box=99999999999"], 2, /99999999999.*4294967295/],
  [["service", "create", "x", "--image", "x", "--replicas", "99999999999"], 2, /--replicas: .*4294967295/],
  [["service", "create", "x", "--image", "x", "--restart-max-attempts", "99999999999"], 2, /4294967295/],
  [["service", "create", "x", "--image", "x", "--timeout", "soon"], 2, /^error: --timeout: 'soon' is not a duration/],
  [["service", "delete", "box", "--timeout", "soon"], 2, /--timeout: /],
  [["exec", "-u", "nobody-here", "box", "true"], 1, /error: .*user: .*"nobody-here"/],
  [["service", "create", "x"], 2, /--image/],
  [["service", "list", "--host", "tcp://x"], 2, /unix:/],
  [["service", "list", "-o", "xml"], 2, /table/],
  [["nonsense"], 2, /nonsense/],
  [["service", "create", "x", "--image", "x", "--nonsense"], 2, /nonsense/],
] as const)("%j is refused with code %i and what is wrong", async ([args, code, text]) => {
  const finished = await machine.warren(...args);
  expect(finished.stderr).toMatch(text);
  expect(finished.code).toBe(code);
  expect(finished.stderr).not.toContain("    at ");
});

test("scale changes no service where a name is wrong, and create none where the time to wait is", async () => {
  expect((await machine.warren("service", "scale", "box=2", "nothing=1")).code).toBe(1);
  const { replicated } = JSON.parse(await machine.ok("service", "inspect", "box", "-o", "json")).spec as {
    readonly replicated: { readonly replicas: number };
  };
  expect(replicated.replicas).toBe(1);
  await machine.warren("service", "create", "hasty", "--image", image, "--timeout", "soon");
  expect((await machine.warren("service", "inspect", "hasty")).stderr).toContain("no service");
});

test("without a manager a command says so in one line, and how to get one", async () => {
  const { code, stderr } = await machine.warren("service", "list", "--host", "unix:/nowhere/manager.sock");
  expect(code).toBe(1);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain("/nowhere/manager.sock");
});

test("a create that is cut off, at any moment, makes a whole service or none", async () => {
  const names = Array.from({ length: 12 }, (_, i) => `cut${i}`);
  for (const [i, name] of names.entries()) {
    const child = machine.spawn("service", "create", name, "--image", image, "--stop-signal", "KILL", "-p", "0:80");
    const ended = once(child, "exit");
    // Spread over the whole of a start, a request and the wait that follows.
    await new Promise((resolve) => setTimeout(resolve, i * 60));
    child.kill("SIGKILL");
    await ended;
  }
  const abandoned = names.map((name) => `${name}-call`);
  for (const name of abandoned) {
    const abort = new AbortController();
    const spec = {
      name,
      mode: { $case: "replicated" as const, value: { replicas: 1 } },
      task: { container: { image, stopSignal: "KILL" } },
    };
    const call = machine.client.services.create({ spec }, { signal: abort.signal });
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    await call.catch(() => undefined);
  }
  const page = { size: 1_000, token: "" };
  // What was abandoned last may still be on its way to the log, so this is looked at until it is so.
  await until(
    "those that were made run and are deleted, and nothing is left",
    async () => {
      const { services } = await machine.client.services.list({ page });
      const made = services.filter(({ spec }) => spec?.name.startsWith("cut"));
      for (const { spec } of made) {
        const name = spec?.name ?? "";
        await until(`${name} runs`, async () => (await machine.running(name)).length === 1, 20_000);
        await machine.ok("service", "delete", name, "--detach");
      }
      const { tasks } = await machine.client.tasks.list({ page });
      return made.length === 0 && !tasks.some(({ serviceName }) => serviceName.startsWith("cut"));
    },
    40_000,
  );
}, 60_000);

test("where the manager goes while a change is waited for, the command says that the change goes on", async () => {
  const child = machine.spawn("service", "create", "left", "--image", image, "--replicas", "2", "--timeout", "60s");
  let stderr = "";
  child.stderr?.on("data", (data: Buffer) => (stderr += data.toString()));
  const closed = once(child, "close");
  await until("it waits", () => stderr.includes("left: "), 20_000);
  await machine.killDaemon("manager");
  expect(await closed).toEqual([1, null]);
  expect(stderr).toContain("the change is stored and goes on: 'warren why left' says how far it is");
  await machine.startDaemon("manager");
  await until("it goes on", async () => (await machine.running("left").catch(() => [])).length === 2, 60_000);
});
