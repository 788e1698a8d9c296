import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Runtime } from "@warren/runtime";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connectContainerd } from "../src/index.ts";
import {
  pushImage,
  startPrivateContainerd,
  startRegistry,
  startRuntimeBed,
  type RuntimeBed,
} from "../src/testing/index.ts";
import { until } from "@warren/std/testing";
import { script } from "./bed.ts";
import { HostileRegistry, types } from "./hostile-registry.ts";

let bed: RuntimeBed;
let runtime: Runtime;

beforeAll(async () => {
  bed = await startRuntimeBed();
  runtime = await bed.open();
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
});
afterAll(async () => {
  await runtime?.close();
  await bed?.[Symbol.asyncDispose]();
});

/** `fetch` that tells what it was asked for, and may answer itself. */
function watching(
  answer: (url: URL, init: RequestInit | undefined) => Promise<Response> | undefined = () => undefined,
): {
  readonly fetcher: typeof fetch;
  readonly asked: { readonly url: string; readonly range: string | null }[];
} {
  const asked: { url: string; range: string | null }[] = [];
  const fetcher: typeof fetch = (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    asked.push({ url: url.href, range: new Headers(init?.headers).get("range") });
    return answer(url, init) ?? fetch(input, init);
  };
  return { fetcher, asked };
}

const random = (): string => Array.from({ length: 20_000 }, () => Math.random()).join();

test("zstd layers run; a missing image, a missing platform and an unreachable registry are told apart", async () => {
  const zstd = await bed.push("zstd:1", { compression: "zstd", files: { hello: "from zstd" } });
  await runtime.pull(zstd);
  expect((await script(runtime, "cat /hello", { id: "zstd", image: zstd })).output).toBe("from zstd");
  await expect(runtime.pull(`${bed.registry.host}/nothing:1`)).rejects.toMatchObject({
    code: "RUNTIME_IMAGE_NOT_FOUND",
  });
  const foreign = await bed.push("foreign:1", { architecture: "riscv64" });
  await expect(runtime.pull(foreign)).rejects.toMatchObject({
    failure: { code: "RUNTIME_PLATFORM_MISSING", offered: ["linux/riscv64"] },
  });
  await expect(runtime.pull("127.0.0.1:1/box:1")).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNREACHABLE" });
});

test("a tag that versions pinned means the newest of them when its registry is gone", async () => {
  const brief = await startRegistry();
  const digests: string[] = [];
  for (const what of ["old", "new"]) {
    const ref = await pushImage(brief, "moved:1", { files: { what } });
    const { pinned, digest } = await runtime.resolveImage(ref);
    await runtime.pull(pinned);
    digests.push(digest);
  }
  await brief[Symbol.asyncDispose]();
  const ref = `${brief.host}/moved:1`;
  expect(await runtime.resolveImage(ref)).toMatchObject({ digest: digests[1], pinned: `${ref}@${digests[1]}` });
  await expect(runtime.resolveImage(`${brief.host}/moved:2`)).rejects.toMatchObject({
    code: "RUNTIME_REGISTRY_UNREACHABLE",
  });
});

test("an image that is here is used when its registry is gone, by tag and by digest", async () => {
  const brief = await startRegistry();
  const ref = await pushImage(brief, "kept:1");
  const pulled = await runtime.pull(ref);
  const pinned = await runtime.pull(`${brief.host}/kept@${pulled.digest}`);
  await brief[Symbol.asyncDispose]();
  const because = { code: "RUNTIME_REGISTRY_UNREACHABLE" };
  expect(await runtime.pull(ref)).toMatchObject({ digest: pulled.digest, source: { kind: "local", because } });
  expect(await runtime.resolveImage(ref)).toMatchObject({ digest: pulled.digest, source: { kind: "local", because } });
  expect(await runtime.pull(pinned.ref)).toMatchObject({ digest: pinned.digest, source: { kind: "local" } });
  const { fetcher, asked } = watching();
  await using other = await bed.open({ fetch: fetcher });
  await other.pull(pinned.ref);
  expect(asked).toEqual([]);
});

test("a tag that moved is pulled anew, and what runs keeps what it has", async () => {
  const ref = await bed.push("moving:1", { files: { what: "old" } });
  const old = await runtime.pull(ref);
  await runtime.create({ id: "old", image: ref, command: ["cat", "/what"] });
  await bed.push("moving:1", { files: { what: "new" } });
  expect((await runtime.pull(ref)).digest).not.toBe(old.digest);
  expect((await script(runtime, "cat /what", { id: "new", image: ref })).output).toBe("new");
  await runtime.start("old");
  expect(await runtime.wait("old")).toMatchObject({ code: 0 });
});

test("layers are brought once, whoever shares them and however many pull", async () => {
  const refs = await Promise.all(
    ["a", "b", "c"].map((name) => bed.push(`shared-${name}:1`, { files: { name, common: "x" } })),
  );
  await runtime.removeUnusedImages(new Set());
  const { fetcher, asked } = watching();
  await using several = await bed.open({ fetch: fetcher });
  const twice = [...refs, ...refs];
  await Promise.all(twice.map((ref) => several.pull(ref)));
  const blobs = asked.map(({ url }) => /blobs\/(.*)/.exec(url)?.[1]).filter((digest) => digest !== undefined);
  expect(new Set(blobs).size).toBe(7); // busybox, and three times config and files
  expect(blobs).toHaveLength(7);
});

test("a layer that is not what its digest says is refused and leaves nothing that a later pull builds on", async () => {
  const ref = await bed.push("altered:1", { files: { once: "upon a time" } });
  const { fetcher } = watching((url, init) =>
    url.pathname.includes("/blobs/")
      ? fetch(url, init).then(async (response) => {
          const bytes = new Uint8Array(await response.arrayBuffer());
          bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
          return new Response(bytes, { status: response.status });
        })
      : undefined,
  );
  await using deceived = await bed.open({ fetch: fetcher });
  await expect(deceived.pull(ref)).rejects.toMatchObject({ code: "RUNTIME_DIGEST_MISMATCH", retryable: true });
  expect(await runtime.pull(ref)).toMatchObject({ ref });
});

test("a layer that broke off goes on from where it stopped, in another process too", async () => {
  const ref = await bed.push("broken:1", { files: { tale: random() } });
  const cutting = watching((url, init) =>
    url.pathname.includes("/blobs/")
      ? fetch(url, init).then(async (response) => {
          const bytes = new Uint8Array(await response.arrayBuffer());
          return new Response(bytes.length > 50_000 ? cut(bytes.subarray(0, 50_000)) : bytes);
        })
      : undefined,
  );
  await using unlucky = await bed.open({ fetch: cutting.fetcher });
  await expect(unlucky.pull(ref)).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNREACHABLE" });
  const { fetcher, asked } = watching();
  await using lucky = await bed.open({ fetch: fetcher });
  expect(await lucky.pull(ref)).toMatchObject({ ref });
  expect(asked.map(({ range }) => range)).toContain("bytes=50000-");
});

test("a mirror is asked first and may be away, lack it, or send something else; it sees no login", async () => {
  const ref = await bed.push("mirrored:1", { files: { x: random() } });
  const logins: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    logins.push(request.headers.authorization);
    response.statusCode = request.url?.includes("manifests") ? 404 : 500;
    response.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const lacking = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await using mirror = await startRegistry();
  await pushImage(mirror, "cached/mirrored:1", { files: { from: "the mirror" } });
  const { host } = bed.registry;
  const auth = { username: "me", password: "secret" };
  await using first = await bed.open({}, { mirrors: { [host]: ["127.0.0.1:1", lacking] } });
  const direct = await first.pull(ref, { auth });
  expect(logins.length).toBeGreaterThan(0);
  expect(logins.filter((login) => login !== undefined)).toEqual([]);
  server.close();
  // A path below a mirror's host is where a cache keeps several registries apart.
  const { fetcher, asked } = watching();
  await using second = await bed.open({ fetch: fetcher }, { mirrors: { [host]: [`http://${mirror.host}`] } });
  await second.pull(ref);
  expect(asked[0]?.url).toBe(`http://${mirror.host}/v2/mirrored/manifests/1`);
  expect(asked.some(({ url }) => url.startsWith(`http://${host}/v2/mirrored/manifests`))).toBe(true);
  expect(await second.pull(ref)).toEqual(direct);
});

test("a registry with a password gives only to who has it", async () => {
  await using locked = await startRegistry({ username: "me", password: "s3cret" });
  const ref = await pushImage(locked, "private:1");
  await expect(runtime.pull(ref)).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNAUTHORIZED", retryable: true });
  const wrong = { username: "me", password: "wrong" };
  await expect(runtime.pull(ref, { auth: wrong })).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNAUTHORIZED" });
  const progress: number[] = [];
  const auth = { username: "me", password: "s3cret" };
  await runtime.pull(ref, { auth, onProgress: ({ doneBytes, totalBytes }) => progress.push(doneBytes / totalBytes) });
  expect(progress.at(-1)).toBe(1);
});

test("a disk that is full rejects the pull and says so, and a later one with room succeeds", async () => {
  const home = join(bed.containerd.directory, "tiny");
  mkdirSync(home);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", home]);
  try {
    await using tiny = await startPrivateContainerd(join(home, "containerd"));
    const options = { address: tiny.address, runDir: join(home, "run"), dataDir: join(home, "data") };
    await using full = await connectContainerd({}, options);
    const ref = await bed.push("large:1");
    await expect(full.pull(ref)).rejects.toMatchObject({ code: "RUNTIME_DISK_FULL", retryable: true });
    execFileSync("mount", ["-o", "remount,size=32m", home]);
    expect(await full.pull(ref)).toMatchObject({ ref });
  } finally {
    execFileSync("umount", ["-l", home]);
  }
});

test("collecting unused images leaves neither blob nor snapshot of them", async () => {
  await runtime.removeUnusedImages(new Set());
  const used = await bed.push("used:1", { files: { mine: random() } });
  const unused = await bed.push("unused:1", { files: { mine: random() } });
  await runtime.pull(used);
  const blobs = (): number =>
    readdirSync(join(bed.containerd.directory, "root/io.containerd.content.v1.content/blobs/sha256")).length;
  const before = blobs();
  await runtime.pull(unused);
  expect(blobs()).toBeGreaterThan(before);
  await runtime.create({ id: "user", image: used, command: ["true"] });
  expect(await runtime.removeUnusedImages(new Set())).toMatchObject([{ ref: unused }]);
  expect(blobs()).toBe(before);
  expect(await runtime.images()).toMatchObject([{ ref: used }]);
});

/** A body that ends as a lost connection does. */
function cut(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let sent = false;
  return new ReadableStream({
    pull(controller) {
      if (sent) controller.error(new Error("connection lost"));
      else controller.enqueue(bytes);
      sent = true;
    },
  });
}

test("a blob that another namespace of the same containerd has is taken from there, not asked for past its end", async () => {
  const shared = await bed.push("shared:1", { files: { file: random() } });
  await runtime.pull(shared);
  await using other = await bed.open({}, { namespace: `${bed.options.namespace ?? ""}-other` });
  await other.pull(shared);
  expect((await other.images()).map(({ ref }) => ref)).toEqual([shared]);
  await other.removeUnusedImages(new Set());
});

test("an image that is here is used whatever its registry answers, and the answer is told", async () => {
  const ref = await bed.push("refused:1", { files: { x: random() } });
  const { digest } = await runtime.pull(ref);
  for (const [status, code] of [
    [401, "RUNTIME_REGISTRY_UNAUTHORIZED"],
    [403, "RUNTIME_REGISTRY_UNAUTHORIZED"],
    [404, "RUNTIME_IMAGE_NOT_FOUND"],
    [408, "RUNTIME_REGISTRY_REFUSED"],
    [429, "RUNTIME_REGISTRY_REFUSED"],
    [500, "RUNTIME_REGISTRY_REFUSED"],
    [200, "RUNTIME_IMAGE_INVALID"],
  ] as const) {
    const { fetcher } = watching(() => Promise.resolve(new Response("", { status })));
    await using refused = await bed.open({ fetch: fetcher });
    expect(await refused.pull(ref), String(status)).toMatchObject({
      digest,
      source: { kind: "local", because: { code } },
    });
    expect(await refused.resolveImage(ref)).toMatchObject({ digest, source: { kind: "local", because: { code } } });
  }
});

test("what a service runs changes by no pull: a digest is settled once, and the tag moves on", async () => {
  const ref = await bed.push("settled:1", { files: { what: "old" } });
  const { pinned, digest } = await runtime.resolveImage(ref);
  await runtime.pull(pinned);
  await bed.push("settled:1", { files: { what: "new" } });
  expect((await script(runtime, "cat /what", { id: "again", image: pinned })).output).toBe("old");
  expect(await runtime.pull(pinned)).toMatchObject({ digest, source: { kind: "local" } });
  expect((await runtime.resolveImage(ref)).digest).not.toBe(digest);
  await runtime.remove("again");
});

test("a registry that trickles holds up neither a removal nor a pull from another, which has the same layers", async () => {
  await using hostile = await HostileRegistry.start();
  const ref = await bed.push("quick:1", { files: { x: random() } });
  const good = await fetch(`http://${bed.registry.host}/v2/quick/manifests/1`, { headers: { accept: types.index } });
  const index = Buffer.from(await good.arrayBuffer());
  // The same image, whose blobs never come to their end.
  hostile.on("/v2/x/manifests/1", index);
  for (const path of ["manifests", "blobs"])
    hostile.on(`/v2/x/${path}/`, (request, response) => {
      const url = `http://${bed.registry.host}${request.url?.replace("/v2/x/", "/v2/quick/") ?? ""}`;
      void fetch(url, { headers: { accept: types.manifest } }).then(async (answer) => {
        const bytes = Buffer.from(await answer.arrayBuffer());
        if (bytes.length < 20_000) response.end(bytes);
        else response.write(bytes.subarray(0, 100));
      });
    });
  const abort = new AbortController();
  const slow = runtime.pull(`${hostile.host}/x:1`, { signal: abort.signal });
  slow.catch(() => undefined);
  await until("it has begun on its layers", () => hostile.asked.some(({ path }) => path.includes("/blobs/")));
  const unused = await bed.push("unused:2", { files: { y: random() } });
  await runtime.pull(unused);
  expect((await runtime.removeUnusedImages(new Set())).map((image) => image.ref)).toContain(unused);
  await runtime.pull(ref);
  abort.abort(new Error("given up"));
  await expect(slow).rejects.toThrow("given up");
  expect((await script(runtime, "echo runs", { id: "quick", image: ref })).output).toBe("runs\n");
  await runtime.remove("quick");
});

test("a layer that a mirror sends wrong is taken from the registry itself", async () => {
  const ref = await bed.push("poisoned:1", { files: { x: random() } });
  await using mirror = await HostileRegistry.start();
  mirror.on("/v2/poisoned/blobs/", Buffer.alloc(50_000, "x"));
  await using careful = await bed.open({}, { mirrors: { [bed.registry.host]: [`http://${mirror.host}`] } });
  expect(await careful.pull(ref)).toMatchObject({ ref });
  expect(mirror.asked.some(({ path }) => path.includes("/blobs/"))).toBe(true);
});

test("layers are brought three at a time", async () => {
  const layers = Array.from({ length: 9 }, (_, i) => ({ [`layer-${i}`]: random() }));
  const ref = await bed.push("many:1", { layers });
  let [now, most] = [0, 0];
  const { fetcher } = watching((url, init) => {
    if (!url.pathname.includes("/blobs/")) return undefined;
    most = Math.max(most, (now += 1));
    return fetch(url, init).finally(() => (now -= 1));
  });
  await using counting = await bed.open({ fetch: fetcher });
  await counting.pull(ref);
  expect(most).toBeLessThanOrEqual(3);
  expect(await runtime.inspectImage(ref)).toMatchObject({ ref });
});
