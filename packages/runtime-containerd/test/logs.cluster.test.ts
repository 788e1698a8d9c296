import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { wholeLineBytes, type ContainerSpec, type LogLine, type Runtime } from "@warren/runtime";
import { until } from "@warren/std/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";
import { linesOf, script, textOf } from "./bed.ts";

let bed: RuntimeBed;
let runtime: Runtime;
let image: string;

beforeAll(async () => {
  bed = await startRuntimeBed();
  runtime = await bed.open();
  image = await bed.push("box:1");
  await runtime.pull(image);
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
});
afterAll(async () => {
  await runtime?.close();
  await bed?.[Symbol.asyncDispose]();
});

async function start(id: string, text: string, more: Partial<ContainerSpec> = {}): Promise<void> {
  await runtime.create({ id, image, command: ["/bin/sh", "-c", text], ...more });
  await runtime.start(id);
}

const logFolder = (id: string): string => join(bed.options.dataDir, "logs", id);
const logFiles = (id: string): string[] => readdirSync(logFolder(id)).filter((name) => name.endsWith(".log"));
const numbers = (lines: readonly LogLine[]): number[] => lines.map(({ line }) => Number(Buffer.from(line).toString()));
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

test("whatever bytes a container writes come as they were, long lines whole and longer ones in pieces", async () => {
  const [long, longer] = [100_000, 600_000];
  const text = `head -c ${long} /dev/zero | tr '\\0' x; echo; head -c ${longer} /dev/zero | tr '\\0' y; printf '\\n\\377\\000\\r\\n\\n'; printf 'end' >&2`;
  await script(runtime, text, { id: "bytes", image });
  const lines = await linesOf(runtime.logs("bytes"));
  const out = lines.filter(({ stream }) => stream === "stdout");
  expect(textOf(out)).toBe(`${"x".repeat(long)}\n${"y".repeat(longer)}\n\xff\0\r\n\n`);
  const pieces = out.map(({ line, partial }) => [line.length, partial]);
  expect(pieces.slice(0, 2)).toEqual([
    [long, false],
    [wholeLineBytes, true],
  ]);
  expect(pieces.filter(([, partial]) => partial)).toHaveLength(Math.floor(longer / wholeLineBytes));
  expect(lines.filter(({ stream }) => stream === "stderr")).toMatchObject([{ partial: true }]);
});

test("the newest files are kept, the rest goes, and tail and since look through all that are", async () => {
  const id = "rotated";
  await script(runtime, "i=0; while [ $((i=i+1)) -le 3000 ]; do echo $i; done", {
    id,
    image,
    log: { fileBytes: 8192, files: 3 },
  });
  const lines = await linesOf(runtime.logs(id));
  expect(logFiles(id).length).toBeLessThanOrEqual(3);
  const kept = numbers(lines);
  expect(kept.length).toBeGreaterThan(100);
  expect(kept).toEqual(upTo(3000).slice(-kept.length));
  for (const tail of [1, 150, kept.length, kept.length + 1])
    expect(numbers(await linesOf(runtime.logs(id, { tail })))).toEqual(kept.slice(-tail));
  const middle = lines[Math.floor(lines.length / 2)]!;
  const since = await linesOf(runtime.logs(id, { since: middle.at }));
  expect(since).toEqual(lines.filter(({ at }) => at >= middle.at));
});

test("a follower of a container that is yet to start sees it all, across files", async () => {
  const id = "follow";
  const text = "i=0; while [ $((i=i+1)) -le 5000 ]; do echo $i; done";
  await runtime.create({ id, image, command: ["/bin/sh", "-c", text], log: { fileBytes: 16_384, files: 50 } });
  const following = linesOf(runtime.logs(id, { follow: true }));
  await runtime.start(id);
  expect(numbers(await following)).toEqual(upTo(5000));
  expect(logFiles(id).length).toBeGreaterThan(5);
});

test("nothing is lost and nobody waits when worker and containerd are killed while it writes", async () => {
  const id = "survivor";
  const text =
    "i=0; while [ $((i=i+1)) -le 40000 ]; do echo $i; done; while [ ! -e /go ]; do sleep 0.02; done; echo 40001";
  await using worker = await bed.open();
  await start(id, text, { log: { files: 10 } });
  const reading = worker.logs(id, { follow: true })[Symbol.asyncIterator]();
  await reading.next();
  await bed.containerd.kill();
  await worker.close();
  const last = (): string => readFileSync(join(logFolder(id), logFiles(id).at(-1)!), "utf8").slice(-10);
  await until("it has written all meanwhile", () => last().includes(" 40000\n"));
  await bed.containerd.restart();
  await using next = await bed.open();
  const process = await until("containerd is there", () =>
    next.exec(id, { args: ["touch", "/go"] }).catch(() => undefined),
  );
  await process.exit;
  expect(numbers(await linesOf(next.logs(id, { follow: true })))).toEqual(upTo(40_001));
  expect(await next.wait(id)).toMatchObject({ code: 0 });
  await reading.return?.();
});

test("a container that nobody reads writes at full speed, in little memory", async () => {
  const id = "flood";
  const begin = performance.now();
  const text = "yes 0123456789012345678901234567890123456789 | head -c 100000000; while :; do sleep 1; done";
  await start(id, text, { log: { fileBytes: 1 << 20, files: 2 } });
  // The loop's first sleep is seen when all is written.
  await until(
    "it has written all",
    async () => {
      const stdout: string[] = [];
      const stream = new WritableStream<Uint8Array>({
        write: (chunk) => void stdout.push(Buffer.from(chunk).toString()),
      });
      await (
        await runtime.exec(id, { args: ["ps", "-o", "args"] }, { stdout: stream })
      ).exit;
      return stdout.join("").includes("sleep 1");
    },
    30_000,
  );
  const seconds = (performance.now() - begin) / 1000;
  const pid = readFileSync(join(logFolder(id), "logger"), "utf8");
  const residentKib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  expect(residentKib).toBeLessThan(4096);
  expect(100 / seconds).toBeGreaterThan(5); // MB/s
});

test("a full disk holds no container up, and what is missing is told when there is room again", async () => {
  const small = join(bed.containerd.directory, "small");
  mkdirSync(small);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", small]);
  try {
    await using full = await bed.open({}, { dataDir: small });
    const id = "full";
    const text =
      "i=0; while [ $((i=i+1)) -le 20000 ]; do echo $i; done; touch /written; while [ ! -e /go ]; do sleep 0.02; done; echo again; sleep 0.1; echo more";
    await full.create({ id, image, command: ["/bin/sh", "-c", text], log: { fileBytes: 1 << 20, files: 2 } });
    writeFileSync(join(small, "ballast"), Buffer.alloc(64 * 1024));
    await full.start(id);
    const wait = await full.exec(id, {
      args: ["/bin/sh", "-c", "while [ ! -e /written ]; do sleep 0.02; done"],
    });
    expect((await wait.exit).code).toBe(0);
    rmSync(join(small, "ballast"));
    await (
      await full.exec(id, { args: ["touch", "/go"] })
    ).exit;
    expect(await full.wait(id)).toMatchObject({ code: 0 });
    const text2 = textOf(await linesOf(full.logs(id)));
    expect(text2).toMatch(/\[\d+ bytes of output are missing here: they could not be written\]\n/);
    expect(text2).toContain("more\n");
    await full.remove(id);
  } finally {
    execFileSync("umount", ["-l", small]);
  }
});
