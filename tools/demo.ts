/** What `tools/demo` shows; it has set up what this needs. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify, styleText } from "node:util";
import { freePorts, until } from "@warren/std/testing";
import { pushImage, startRegistry } from "@warren/runtime-containerd/testing";
import { shellWord } from "./shell-word.ts";

const run = promisify(execFile);
const { values: flags } = parseArgs({ options: { keep: { type: "boolean", default: false } } });

const root = join(import.meta.dirname, "..");
const home = await mkdtemp(join(tmpdir(), "warren-demo-"));
const folders = ["--data-dir", join(home, "data"), "--run-dir", join(home, "run")];
const env = { ...process.env, WARREN_HOST: `unix:${join(home, "run/manager.sock")}` };
const command = [join(root, "apps/cli/bin/warren.js")];

function say(text: string): void {
  process.stdout.write(`\n${styleText("bold", `# ${text}`)}\n`);
}

/** Runs `warren …` as a user would, with what it prints on the screen. */
async function warren(...args: string[]): Promise<void> {
  process.stdout.write(`${styleText("dim", `$ warren ${args.map(shellWord).join(" ")}`)}\n`);
  const child = spawn(process.execPath, [...command, ...args], { env, stdio: ["ignore", "inherit", "inherit"] });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`warren ${args.join(" ")} ended with ${code}`);
}

async function answer(...args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [...command, ...args], { env });
  return stdout;
}

/** What the machine has of the kinds of things that this cluster makes, others' things of these kinds left out. */
async function inventory(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const lines = async (program: string, ...args: string[]): Promise<string[]> => {
    const { stdout } = await run(program, args, { maxBuffer: 2 ** 26 }).catch((error: { stdout?: string }) => ({
      stdout: error.stdout ?? "",
    }));
    return stdout.split("\n").filter(Boolean);
  };
  const mounts = (await readFile("/proc/self/mounts", "utf8")).split("\n");
  return new Map([
    ["process", new Set((await lines("pgrep", "-af", home)).filter((line) => !line.includes("pgrep")))],
    ["interface", new Set((await lines("ip", "-o", "link")).flatMap((line) => /: (wr\w{13})@/.exec(line)?.[1] ?? []))],
    ["mount", new Set(mounts.filter((line) => line.includes(home)))],
    ["firewall table", new Set((await lines("nft", "list", "tables")).filter((line) => line.includes("warren")))],
    ["cgroup", new Set(await lines("find", "/sys/fs/cgroup", "-maxdepth", "2", "-type", "d", "-name", "warren*"))],
  ]);
}

const before = await inventory();
const [port = 0] = await freePorts(1);
const registry = await startRegistry();
let started = false;
try {
  say("A registry on loopback serves a small image");
  const image = await pushImage(registry, "demo/web:1", {
    config: {
      Cmd: [
        "sh",
        "-c",
        "mkdir /www; echo hello from $(hostname) >/www/index.html; echo serving; exec httpd -f -v -p 80 -h /www",
      ],
    },
  });
  process.stdout.write(`${image}\n`);

  say("A cluster, with one command");
  started = true;
  const containerd = join(home, "run/containerd.sock");
  await warren(
    "cluster",
    "init",
    ...folders,
    "--manager-flags",
    "--metrics-addr off",
    "--worker-flags",
    `--metrics-addr off --containerd ${containerd}`,
  );
  await warren("node", "list");

  say("A service: three containers, a published port, a health check");
  const health = ["--health-http", "80/", "--health-interval", "1s"];
  await warren(
    "service",
    "create",
    "web",
    "--image",
    image,
    "--replicas",
    "3",
    "-p",
    `${port}:80`,
    ...health,
    "--restart-delay",
    "1s",
  );
  await warren("service", "create", "client", "--image", image, "--", "sleep", "1000000");
  await warren("service", "list");
  await warren("service", "tasks", "web");

  say("From another container, by name: the VIP leads to each of the three");
  await showAnswers("by name", async () => answer("task", "exec", "client.1", "--", "wget", "-qO-", "http://web/"));
  say("From this machine, through the published port");
  await showAnswers("by port", async () => (await fetch(`http://127.0.0.1:${port}/`)).text());

  say("One is killed; another takes its place");
  const inspected = JSON.parse(await answer("task", "inspect", "web.2", "-o", "json")) as {
    status: { container: { pid: number } };
  };
  const victim = inspected.status.container.pid;
  // Neither 0, which is this process's own group, nor init.
  if (!(victim > 1)) throw new Error(`web.2 has no process: ${victim}`);
  process.stdout.write(`${styleText("dim", `$ kill -9 ${victim}`)}\n`);
  process.kill(victim, "SIGKILL");
  await until(
    "the task was replaced",
    async () => (await answer("service", "tasks", "web", "-o", "name")).trim().split("\n").length === 4,
    30_000,
  );
  await until("three run again", async () => / 3\/3 /.test(await answer("service", "list")), 60_000);
  await warren("service", "tasks", "web");
  await warren("why", "web");

  say("Its log");
  await warren("service", "logs", "web", "--tail", "3");

  if (flags.keep) {
    say("It goes on. Try it:");
    process.stdout.write(
      `  export WARREN_HOST=${env.WARREN_HOST}\n  tools/warren service scale web=5\n  curl http://127.0.0.1:${port}/\n` +
        `and end it with\n  tools/warren cluster leave --force --volumes ${folders.join(" ")} --containerd ${containerd} && rm -r ${home}\n` +
        `The registry ends now; images that are here stay usable.\n`,
    );
  }
} finally {
  if (!flags.keep && started) {
    say("Everything is taken away");
    await warren(
      "cluster",
      "leave",
      "--force",
      "--volumes",
      ...folders,
      "--containerd",
      join(home, "run/containerd.sock"),
    );
  }
  await registry[Symbol.asyncDispose]();
  if (!flags.keep) {
    await rm(home, { recursive: true, force: true });
    report(before, await inventory());
  }
}

/** Asks until each of the three has answered. */
async function showAnswers(how: string, ask: () => Promise<string>): Promise<void> {
  const seen = new Set<string>();
  await until(
    `three have answered ${how}`,
    async () => {
      const text = (await ask()).trim();
      if (!seen.has(text)) process.stdout.write(`${text}\n`);
      return seen.add(text).size === 3;
    },
    60_000,
  );
}

/** Says what is there that was not; that would be a fault. */
function report(
  earlier: ReadonlyMap<string, ReadonlySet<string>>,
  now: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  const left = [...now].flatMap(([kind, things]) =>
    [...things].filter((thing) => !earlier.get(kind)?.has(thing)).map((thing) => `${kind}: ${thing}`),
  );
  if (left.length === 0)
    process.stdout.write("No process, container, interface, mount, cgroup or firewall rule is left.\n");
  else {
    process.stdout.write(`left behind:\n${left.join("\n")}\n`);
    process.exitCode = 1;
  }
}
