import { parseReference, type ImageConfig, type RuntimeError } from "@warren/runtime";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parseConfig } from "../src/image-documents.ts";
import { resolveReference, type Resolution } from "../src/image-resolution.ts";
import { Registry, digestOf } from "../src/registry.ts";
import { HostileRegistry, build, named, types, usual } from "./hostile-registry.ts";

let registry: HostileRegistry;
beforeAll(async () => {
  registry = await HostileRegistry.start();
});
beforeEach(() => registry.forget());
afterAll(() => registry[Symbol.asyncDispose]());

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

/** An image of a platform, and an index's entry for it. */
function image(architecture: string, variant?: string): { root: Uint8Array; blobs: readonly Uint8Array[] } {
  return build({ config: { ...usual.config, architecture, variant }, manifest: usual.manifest });
}

function entry(root: Uint8Array, architecture?: string, variant?: string): object {
  const type = Buffer.from(root).includes("manifests") ? types.index : types.manifest;
  return { ...named(root, type), ...(architecture && { platform: { os: "linux", architecture, variant } }) };
}

async function resolve(): Promise<Resolution> {
  const reference = parseReference(`${registry.host}/x:1`);
  const client = new Registry(reference);
  const root = await client.manifest(reference.selector);
  return resolveReference(client, reference, root, { os: "linux", architecture: "amd64", variant: "v3" });
}

async function chosen(): Promise<unknown> {
  const { documents } = await resolve();
  if (documents instanceof Error) throw documents;
  return documents.config.description.platform;
}

test("the best of an index is taken, in whatever order and of whatever names", async () => {
  const images = (["v1", "v2", "v3", "v4"] as const).map((v) => image("x86_64", v));
  const entries = images.map(({ root }, i) => entry(root, "x86_64", `v${i + 1}`));
  for (const manifests of [entries, entries.toReversed()]) {
    registry.serve({ root: bytes({ manifests }), blobs: images.flatMap((i) => [i.root, ...i.blobs]) });
    expect(await chosen()).toEqual({ os: "linux", architecture: "amd64", variant: "v3" });
  }
});

test("indexes in an index are looked into, and an entry that says nothing is taken where no other fits", async () => {
  const [mine, other] = [image("amd64"), image("arm64")];
  const inner = bytes({ schemaVersion: 2, mediaType: types.index, manifests: [entry(other.root), entry(mine.root)] });
  const outer = bytes({ manifests: [entry(other.root, "arm64"), { ...named(inner, types.index) }] });
  registry.serve({ root: outer, blobs: [inner, mine.root, other.root, ...mine.blobs, ...other.blobs] });
  expect(await chosen()).toEqual({ os: "linux", architecture: "amd64" });
  const { documents } = await resolve();
  expect((documents as Exclude<typeof documents, Error>).path.map(({ descriptor }) => descriptor.digest)).toEqual(
    [outer, inner, mine.root].map(digestOf),
  );
});

test("what is beside an image, as its provenance, is no platform", async () => {
  const mine = image("amd64");
  const provenance = {
    ...named(Buffer.from("{}"), types.manifest),
    platform: { os: "unknown", architecture: "unknown" },
  };
  const root = bytes({ schemaVersion: 2, manifests: [provenance, entry(mine.root, "amd64")] });
  registry.serve({ root, blobs: [mine.root, ...mine.blobs] });
  const { platforms } = await resolve();
  expect(platforms).toEqual([{ os: "linux", architecture: "amd64" }]);
});

test("a platform that is missing is told with what there is", async () => {
  const manifests = [entry(image("arm64").root, "arm64", "v8"), entry(image("arm", "v7").root, "armhf")];
  const root = bytes({ manifests });
  registry.serve({ root, blobs: [] });
  const { documents, platforms } = await resolve();
  expect((documents as RuntimeError).failure).toMatchObject({
    code: "RUNTIME_PLATFORM_MISSING",
    wanted: "linux/amd64/v3",
    offered: ["linux/arm64", "linux/arm/v7"],
  });
  expect((documents as RuntimeError).message).toContain("only for linux/arm64, linux/arm/v7");
  expect(platforms).toHaveLength(2);
});

test.each([
  ["schema 1", { schemaVersion: 1, name: "x", fsLayers: [] }, /old form \(schema 1\)/],
  [
    "an artifact by its configuration",
    { config: named(Buffer.from("{}"), "application/vnd.cncf.helm.config.v1+json"), layers: [] },
    /artifact \(application\/vnd\.cncf\.helm/,
  ],
  [
    "an artifact by its type",
    { ...usual.manifest(Buffer.from("{}")), artifactType: "application/x.sbom" },
    /artifact \(application\/x\.sbom\)/,
  ],
  ["an image without layers", { ...usual.manifest(Buffer.from("{}")), layers: [] }, /no layers/],
  [
    "an encrypted layer",
    { ...usual.manifest(Buffer.from("{}")), layers: [named(Buffer.from("l"), `${types.layer}+encrypted`)] },
    /can't be unpacked/,
  ],
  [
    "an index that is a manifest too",
    { ...usual.manifest(Buffer.from("{}")), manifests: [] },
    /both an index and a manifest/,
  ],
  ["a signature", { payload: "x", signatures: [] }, /neither an image nor an index/],
])("what is no image is named as what it is: %s", async (_, document, expected) => {
  registry.serve({ root: bytes(document), blobs: [] });
  await expect(resolve()).rejects.toThrow(expected);
  await expect(resolve()).rejects.toMatchObject({ code: "RUNTIME_IMAGE_INVALID", retryable: false });
});

test("every field of a configuration comes out typed", () => {
  const { config, platform } = parseConfig("x", bytes(usual.config));
  expect(platform).toEqual({ os: "linux", architecture: "amd64" });
  expect(config).toEqual({
    entrypoint: ["/app"],
    cmd: ["serve"],
    env: ["A=1"],
    workingDir: "/srv",
    user: "web",
    stopSignal: "SIGRTMIN+3",
    exposedPorts: [
      { port: 80, protocol: "tcp" },
      { port: 53, protocol: "udp" },
      ...[8000, 8001, 8002].map((port) => ({ port, protocol: "tcp" as const })),
    ],
    volumes: ["/data", "/logs"],
    labels: { a: "b" },
    shell: ["/bin/ash", "-c"],
    onBuild: ["RUN x"],
    healthcheck: {
      kind: "command",
      command: ["/bin/ash", "-c", "test -d /x || exit 1"],
      intervalMs: 5_000,
      timeoutMs: 1_500,
      startPeriodMs: 2_000,
      startIntervalMs: 1_000,
      retries: 4,
    },
  } satisfies ImageConfig);
});

test("what a configuration leaves out, or sets to null, is not set", () => {
  const nulls = Object.fromEntries(Object.keys(usual.config.config).map((key) => [key, null]));
  const none = parseConfig("x", bytes({})).config;
  expect(parseConfig("x", bytes({ rootfs: null, config: nulls })).config).toEqual(none);
  expect(none).toMatchObject({ env: [], shell: ["/bin/sh", "-c"], healthcheck: undefined, workingDir: undefined });
  const check = (Healthcheck: object): unknown =>
    parseConfig("x", bytes({ config: { Healthcheck } })).config.healthcheck;
  expect(check({ Test: ["NONE"] })).toEqual({ kind: "none" });
  expect(check({ Test: [], Retries: 3 })).toBeUndefined();
  expect(check({ Test: ["CMD", "ok"] })).toEqual({ kind: "command", command: ["ok"] });
});
