import { execFileSync } from "node:child_process";
import { createHash, pbkdf2 } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ExecSpec, ExecStreams, ExitStatus, Runtime } from "@warren/runtime";
import { until } from "@warren/std/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";
import { collector } from "./bed.ts";

let bed: RuntimeBed;
let runtime: Runtime;
const id = "host";

beforeAll(async () => {
  bed = await startRuntimeBed();
  runtime = await bed.open();
  const image = await bed.push("box:1");
  await runtime.pull(image);
  await runtime.create({ id, image, command: ["sleep", "3600"], env: { OURS: "1" }, workingDir: "/etc" });
  await runtime.start(id);
});
afterAll(async () => {
  await runtime?.close();
  await bed?.[Symbol.asyncDispose]();
});

interface Ran {
  readonly exit: ExitStatus;
  readonly stdout: string;
  readonly stderr: string;
}

async function sh(text: string, spec: Partial<ExecSpec> = {}, streams: ExecStreams = {}): Promise<Ran> {
  const [stdout, stderr] = [collector(), collector()];
  const all = { stdout: stdout.stream, stderr: stderr.stream, ...streams };
  const process = await runtime.exec(id, { args: ["/bin/sh", "-c", text], ...spec }, all);
  const exit = await process.exit;
  return { exit, stdout: stdout.bytes().toString(), stderr: stderr.bytes().toString() };
}

const stream = (bytes: Uint8Array): ReadableStream<Uint8Array> => new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();

test("user, groups, directory and environment are the container's or the exec's", async () => {
  expect((await sh("id -u; pwd; echo $OURS")).stdout).toBe("0\n/etc\n1\n");
  const own = await sh("id -u; id -G; pwd; echo $OURS $ITS; grep CapEff /proc/self/status | cut -f2", {
    user: "web",
    workingDir: "/tmp",
    env: { ITS: "2" },
  });
  expect(own.stdout).toBe("1000\n1001 50\n/tmp\n1 2\n0000000000000000\n");
});

test("a terminal: its size follows, what is typed arrives, ^C interrupts", async () => {
  const stdout = collector();
  const typed = new TransformStream<Uint8Array, Uint8Array>();
  const keys = typed.writable.getWriter();
  const text =
    "trap 'stty size' WINCH; trap 'echo caught; exit 9' INT; tty; stty size; read line; echo \"got $line\"; while :; do sleep 0.02; done";
  const streams = { stdin: typed.readable, stdout: stdout.stream };
  const process = await runtime.exec(id, { args: ["/bin/sh", "-c", text], tty: true }, streams);
  await until("it shows its first size", () => stdout.bytes().includes("24 80"));
  await keys.write(Buffer.from("hello\r"));
  await until("it read a line", () => stdout.bytes().includes("got hello"));
  await process.resize(132, 43);
  await until("it shows its new size", () => stdout.bytes().includes("43 132"));
  await keys.write(Buffer.from("\x03"));
  expect((await process.exit).code).toBe(9);
  expect(stdout.bytes().toString()).toMatch(/^\/dev\/pts\/\d+\r\n[^]*hello[^]*caught\r\n$/);
});

test("megabytes go in and come out whole, past a slow reader", async () => {
  const bytes = Buffer.alloc(4 << 20, "0123456789abcdef\n");
  const hash = createHash("sha256");
  let chunks = 0;
  const slow = new WritableStream<Uint8Array>(
    {
      async write(chunk) {
        hash.update(chunk);
        chunks += 1;
        // As a link would; the last output is still under way long after the process has ended.
        if (chunks % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 30));
      },
    },
    { highWaterMark: 1 },
  );
  const { exit } = await sh("cat", {}, { stdin: stream(bytes), stdout: slow });
  expect(exit.code).toBe(0);
  expect(hash.digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));
});

test("a reader that goes does not hold the process up", async () => {
  const gone = new WritableStream<Uint8Array>({ write: () => Promise.reject(new Error("the line is cut")) });
  const { exit } = await sh("yes | head -c 3000000; exit 4", {}, { stdout: gone });
  expect(exit.code).toBe(4);
});

test("an input that never ends does not hold the end up, and is told that nobody reads", async () => {
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    cancel() {
      cancelled = true;
    },
  });
  const { exit, stdout } = await sh("echo done; exit 3", {}, { stdin: endless });
  expect({ code: exit.code, stdout, cancelled }).toEqual({ code: 3, stdout: "done\n", cancelled: true });
});

test("many whose input never ends end, whether or not they ever read", async () => {
  const endless = (): ReadableStream<Uint8Array> => new ReadableStream<Uint8Array>();
  const ran = await Promise.all(Array.from({ length: 12 }, (_, i) => sh(`exit ${i}`, {}, { stdin: endless() })));
  expect(ran.map(({ exit }) => exit.code)).toEqual(Array.from({ length: 12 }, (_, i) => i));
});

test("one that is over before its input could be opened ends, and holds no thread of the pool", async () => {
  const over = new AbortController();
  // The four threads that Node opens files in are taken for longer than the process lives.
  const work = Array.from({ length: 8 }, async () => {
    while (!over.signal.aborted) await promisify(pbkdf2)("x", "y", 60_000, 32, "sha256");
  });
  const run = (): Promise<Ran> => sh("exit 3", {}, { stdin: new ReadableStream() });
  const ran = await Promise.all(Array.from({ length: 10 }, run)).finally(() => over.abort());
  expect(ran.map(({ exit }) => exit.code)).toEqual(ran.map(() => 3));
  await Promise.all(work);
});

test("what is left in the background does not hold the end up", async () => {
  const begin = performance.now();
  const { exit, stdout } = await sh("echo first; sleep 600 & exit 2");
  expect({ code: exit.code, stdout }).toEqual({ code: 2, stdout: "first\n" });
  expect(performance.now() - begin).toBeLessThan(14_000);
});

test("a program that is not there ends with 127, one that can't be run with 126, and why is on its errors", async () => {
  await sh("touch /tmp/plain");
  const run = async (...args: string[]): Promise<[number, string]> => {
    const [stdout, stderr] = [collector(), collector()];
    const process = await runtime.exec(id, { args }, { stdout: stdout.stream, stderr: stderr.stream });
    const { code } = await process.exit;
    await process.signal("KILL");
    expect(stdout.bytes().length).toBe(0);
    return [code, stderr.bytes().toString()];
  };
  expect(await run("no-such-program")).toEqual([
    127,
    expect.stringMatching(/^exec: "no-such-program": [^:]*not found/),
  ]);
  expect(await run("/no/such/program")).toEqual([127, expect.stringContaining("no such file or directory")]);
  expect(await run("/tmp/plain")).toEqual([126, expect.stringContaining("permission denied")]);
  expect(await run("/etc")).toEqual([126, expect.stringMatching(/directory|permission denied/)]);
  await expect(runtime.exec(id, { args: ["true"], user: "nobody-here" })).rejects.toMatchObject({
    failure: { code: "RUNTIME_SPEC_INVALID", field: "user" },
  });
  await until("nothing is left", () => readdirSync(join(bed.options.runDir, "execs")).length === 0);
});

const running = async (marks: string): Promise<number> =>
  Number((await sh(`ps -o args | grep -c '^sleep ${marks}' || true`)).stdout.trim());

test("a process that is given up is ended with all that it started, before its start and after", async () => {
  const tree = "sleep 7771 & (sleep 7772 & setsid sleep 7773 & exec sleep 7774) & echo up; wait";
  const abort = new AbortController();
  const stdout = collector();
  const args = ["/bin/sh", "-c", tree];
  const process = await runtime.exec(id, { args }, { stdout: stdout.stream }, abort.signal);
  await until("it has begun", () => stdout.bytes().includes("up"));
  await until("all run", async () => (await running("777[1-4]")) === 4);
  abort.abort(new Error("given up"));
  await expect(process.exit).rejects.toThrow("given up");
  await until("all are gone", async () => (await running("777[1-4]")) === 0);
  // At any moment of its beginning.
  const early = await Promise.allSettled(
    Array.from({ length: 20 }, async (_, i) => {
      const signal = new AbortController();
      const beginning = runtime.exec(id, { args }, {}, signal.signal);
      setTimeout(() => signal.abort(new Error("given up")), i * 8);
      await (
        await beginning
      ).exit;
    }),
  );
  for (const one of early) expect(one).toMatchObject({ status: "rejected", reason: { message: "given up" } });
  await until("none is left", async () => (await running("777[1-4]")) === 0);
  await until("nor a directory of one", () => readdirSync(join(bed.options.runDir, "execs")).length === 0);
});

test("a KILL to one takes what it started along, and other signals are for it alone", async () => {
  const stdout = collector();
  const text = "trap 'echo got' USR1; sleep 8881 & sleep 8882 & echo up; while :; do wait; done";
  const process = await runtime.exec(id, { args: ["/bin/sh", "-c", text] }, { stdout: stdout.stream });
  await until("it has begun", () => stdout.bytes().includes("up"));
  await process.signal("USR1");
  await until("it got it", () => stdout.bytes().includes("got"));
  expect(await running("888[12]")).toBe(2);
  await process.signal("KILL");
  expect((await process.exit).code).toBe(137);
  expect(await running("888[12]")).toBe(0);
});

/** Runs a shell on the machine, in the container's `/etc`, where no exec that reads its users could run. */
async function inEtc(text: string): Promise<void> {
  const [status] = await runtime.list();
  if (status?.state.kind !== "running") throw new Error("the container does not run");
  execFileSync("sh", ["-c", `cd /proc/${status.state.pid}/root/etc && { ${text}; }`], { cwd: "/" });
}

test("a user is looked up in the container as it is now, whatever its files have become", async () => {
  const user = async (name: string): Promise<string> => (await sh("id -u", { user: name })).stdout.trim();
  const refusal = { failure: { code: "RUNTIME_SPEC_INVALID", field: "user" } };
  await inEtc("mkdir -p ../usr/lib && mv passwd ../usr/lib/passwd && ln -s /usr/lib/passwd passwd");
  expect(await user("web")).toBe("1000");
  await inEtc("ln -sf ../../../../../../usr/lib/passwd passwd");
  expect(await user("web")).toBe("1000");
  await inEtc("echo added:x:77:77::/: >> ../usr/lib/passwd");
  expect(await user("added")).toBe("77");
  for (const harm of [
    "mkfifo passwd",
    "mkdir passwd",
    "ln -s passwd passwd",
    "truncate -s 100G passwd",
    "mknod passwd c 1 5",
  ]) {
    await inEtc(`rm -rf passwd; ${harm}`);
    await expect(user("web"), harm).rejects.toMatchObject(refusal);
  }
  await inEtc("rm -rf passwd; cp ../usr/lib/passwd passwd");
  expect(await user("web")).toBe("1000");
});

test("one that runc never begins, since the container put a pipe in its way, is given up and cleared away", async () => {
  await inEtc("mv passwd kept; mkfifo passwd");
  const abort = new AbortController();
  const beginning = runtime.exec(id, { args: ["true"] }, {}, abort.signal);
  beginning.catch(() => undefined);
  await until("it is stuck", () => readdirSync(join(bed.options.runDir, "execs")).length === 1);
  abort.abort(new Error("given up"));
  await expect(beginning).rejects.toThrow("given up");
  await until("it is cleared away", () => readdirSync(join(bed.options.runDir, "execs")).length === 0, 30_000);
  await inEtc("mv kept passwd");
  expect((await sh("echo well")).stdout).toBe("well\n");
});

test("many at once keep their streams apart", async () => {
  const ran = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      sh(`cat; echo ${i} >&2; exit ${i}`, {}, { stdin: stream(Buffer.from(`in ${i}`)) }),
    ),
  );
  expect(ran.map(({ exit, stdout, stderr }) => [exit.code, stdout, stderr])).toEqual(
    Array.from({ length: 20 }, (_, i) => [i, `in ${i}`, `${i}\n`]),
  );
});

test("what an earlier worker started is ended with the orphans", async () => {
  await using earlier = await bed.open();
  const process = await earlier.exec(id, { args: ["sleep", "777"] });
  process.exit.catch(() => undefined);
  await earlier.close();
  const count = async (): Promise<string> => (await sh("ps -o args | grep -c '^sleep 777'")).stdout.trim();
  expect(await count()).toBe("1");
  await runtime.collectOrphans(new Set([id]));
  expect(await count()).toBe("0");
  expect(readdirSync(join(bed.options.runDir, "execs"))).toEqual([]);
});
