import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Runtime } from "@warren/runtime";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";
import { script } from "./bed.ts";

let bed: RuntimeBed;
let runtime: Runtime;
let image: string;

beforeAll(async () => {
  bed = await startRuntimeBed();
  runtime = await bed.open();
  image = await bed.push("volumes:1", {
    config: { Volumes: { "/data": {}, "/none": {} }, Healthcheck: { Test: ["CMD-SHELL", "true"], Interval: 1e9 } },
    files: { "data/a": "from the image", "data/deep/b": "too", "other/c": "elsewhere" },
  });
  await runtime.pull(image);
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
});
afterAll(async () => {
  await runtime?.close();
  await bed?.[Symbol.asyncDispose]();
});

const directory = (name: string): string => {
  const path = join(bed.containerd.directory, name);
  mkdirSync(path);
  return path;
};

test("what an image declares as a volume is filled, writable though the root is not, and goes with the container", async () => {
  const text =
    "cat /data/a /data/deep/b; echo x > /data/new && echo ' written'; touch /none/y && echo made; touch /x 2>/dev/null || echo fixed";
  const { output } = await script(runtime, text, { id: "own", image, readOnlyRoot: true });
  expect(output).toBe("from the imagetoo written\nmade\nfixed\n");
  const own = join(bed.options.dataDir, "volumes/own");
  expect(readdirSync(own)).toHaveLength(2);
  await runtime.remove("own");
  expect(existsSync(own)).toBe(false);
});

test("a named volume is filled at its first use, and never again", async () => {
  const source = directory("named");
  const mounts = [{ kind: "bind", source, target: "/data", fill: true }] as const;
  expect((await script(runtime, "cat /data/a; echo mine > /data/a", { id: "first", image, mounts })).output).toBe(
    "from the image",
  );
  expect((await script(runtime, "cat /data/a", { id: "second", image, mounts })).output).toBe("mine\n");
  expect(readdirSync(source).sort()).toEqual(["a", "deep"]);
  const other = [{ kind: "bind", source: directory("unfilled"), target: "/data" }] as const;
  expect((await script(runtime, "ls /data | wc -l", { id: "third", image, mounts: other })).output.trim()).toBe("0");
});

test("a volume that several use first at once is filled once, and one that was cut off is filled anew", async () => {
  const source = directory("shared");
  writeFileSync(join(source, ".warren-filling"), "");
  writeFileSync(join(source, "half"), "of it");
  const mounts = [{ kind: "bind", source, target: "/other", fill: true }] as const;
  await Promise.all([1, 2, 3, 4].map((i) => runtime.create({ id: `s${i}`, image, command: ["true"], mounts })));
  expect(readdirSync(source)).toEqual(["c"]);
  expect(readFileSync(join(source, "c"), "utf8")).toBe("elsewhere");
});

test("the directory itself gets the image's owner and mode", async () => {
  const source = directory("owned");
  chmodSync(source, 0o777);
  const mounts = [{ kind: "bind", source, target: "/tmp", fill: true }] as const;
  const { output } = await script(runtime, "stat -c '%a %u' /tmp", { id: "mode", image, mounts });
  expect(output).toBe(`${(statSync(source).mode & 0o7777).toString(8)} 0\n`);
  expect(output).toBe("755 0\n");
});

test("an image's users are found though its files are links", async () => {
  // As NixOS and some distributionless images have it, where a link begins at the root.
  const linked = await bed.push("linked:1", {
    links: { "etc/passwd": "/usr/lib/passwd" },
    files: { "usr/lib/passwd": "app:x:42:43::/:/bin/sh\n" },
  });
  await runtime.pull(linked);
  expect((await script(runtime, "id -u; id -g", { id: "linked", image: linked, user: "app" })).output).toBe("42\n43\n");
  const trap = await bed.push("trap:1", { links: { "etc/passwd": "/etc/passwd" } });
  await runtime.pull(trap);
  await expect(runtime.create({ id: "trap", image: trap, user: "app" })).rejects.toMatchObject({
    failure: { code: "RUNTIME_SPEC_INVALID", field: "user" },
  });
});

test("the image's configuration is told as it is", async () => {
  const { config } = await runtime.inspectImage(image);
  expect(config).toMatchObject({
    volumes: ["/data", "/none"],
    healthcheck: { kind: "command", command: ["/bin/sh", "-c", "true"], intervalMs: 1_000 },
  });
});

test("a stop signal that is none is SIGTERM, and one of real time is sent", async () => {
  for (const [name, StopSignal, trap, code] of [
    ["nonsense", "SIGNONSENSE", "TERM", 5],
    ["systemd", "SIGRTMIN+3", "RTMIN+3", 6],
  ] as const) {
    const ref = await bed.push(`${name}:1`, { config: { StopSignal } });
    await runtime.pull(ref);
    const number = trap === "TERM" ? "15" : "37";
    const args = [`trap 'exit ${code}' ${number}; echo ready; while :; do sleep 0.05; done`];
    await runtime.create({ id: name, image: ref, command: ["/bin/sh", "-c"], args });
    await runtime.start(name);
    for await (const { line } of runtime.logs(name, { follow: true })) if (Buffer.from(line).includes("ready")) break;
    await runtime.kill(name);
    expect(await runtime.wait(name)).toMatchObject({ code });
  }
});
