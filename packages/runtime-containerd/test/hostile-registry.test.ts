import { gzipSync } from "node:zlib";
import { parseReference, RuntimeError, type RegistryAuth } from "@warren/runtime";
import { FakeClock, until } from "@warren/std/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { resolveReference, type ResolvedDocuments } from "../src/image-resolution.ts";
import { Registry, digestOf, type RegistryOptions } from "../src/registry.ts";
import { HostileRegistry, build, named, types, usual, type ImageParts } from "./hostile-registry.ts";

let hostile: HostileRegistry;
// One for each test, so that none meets what another left unfinished.
beforeEach(async () => {
  hostile = await HostileRegistry.start();
});
afterEach(() => hostile[Symbol.asyncDispose]());

// Sums of megabytes and bodies without end take their time on a machine that does other things too.
vi.setConfig({ testTimeout: 60_000 });

const machine = { os: "linux", architecture: "amd64", variant: "v3" };

async function resolve(options: RegistryOptions = {}): Promise<ResolvedDocuments> {
  const reference = parseReference(`${hostile.host}/x:1`);
  const registry = new Registry(reference, options);
  const root = await registry.manifest(reference.selector);
  const { documents } = await resolveReference(registry, reference, root, machine);
  if (documents instanceof RuntimeError) throw documents;
  return documents;
}

/** What a call comes to: "fine", or the code of the one kind of error that is expected here. */
async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "fine";
  } catch (error) {
    if (!RuntimeError.is(error)) throw error;
    expect(error.message.length).toBeLessThan(1_000);
    expect(error.message).toMatch(/^[ -~…]*$/);
    return error.code;
  }
}

/** What a registry with these documents answers, without a connection: there are two thousand of them. */
function inMemory({ root, blobs }: ReturnType<typeof build>): typeof fetch {
  const byName = new Map([root, ...blobs].map((bytes) => [digestOf(bytes), bytes]));
  byName.set("1", root);
  return (url) => {
    const bytes = byName.get(new URL(url as URL).pathname.split("/").at(-1) ?? "");
    return Promise.resolve(bytes === undefined ? new Response("", { status: 404 }) : new Response(Buffer.from(bytes)));
  };
}

/** Every place of a JSON value. */
function* places(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) yield* places(inner, [...path, key]);
}

/** `value` with something else at a place; nothing at all where `put` is undefined. */
function altered(value: unknown, [key, ...rest]: readonly string[], put: unknown): unknown {
  if (key === undefined) return put;
  if (Array.isArray(value)) return value.map((item, i) => (String(i) === key ? altered(item, rest, put) : item));
  const entries = Object.entries(value as object);
  return Object.fromEntries(entries.map(([k, inner]) => [k, k === key ? altered(inner, rest, put) : inner]));
}

const deep = JSON.parse("[".repeat(2_000) + "]".repeat(2_000)) as unknown;
const odd: readonly unknown[] = [
  undefined,
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  "",
  "x",
  "x".repeat(70_000),
  "\0\r\n\u001b[31m",
  "/../..",
  "65536/tcp",
  [],
  {},
  [null],
  [{}],
  [[]],
  { "": null },
  { constructor: 1 },
  JSON.parse('{"__proto__":{"digest":"x"}}'),
  deep,
  digestOf("other"),
  "sha256:00",
  "sha512:00",
  types.index,
  types.manifest,
];

test("whatever stands in any place of any document, the answer is an image or an error of the registry's", async () => {
  const documents = {
    config: usual.config,
    manifest: usual.manifest(new Uint8Array()),
    index: usual.index(new Uint8Array()),
  };
  const seen = new Map<string, number>();
  for (const name of ["config", "manifest", "index"] as const) {
    for (const place of places(documents[name])) {
      for (const put of odd) {
        const change = (value: unknown): unknown => altered(value, place, put);
        const parts: ImageParts = {
          config: name === "config" ? change(usual.config) : usual.config,
          manifest: (config) => (name === "manifest" ? change(usual.manifest(config)) : usual.manifest(config)),
          index: (manifest) => (name === "index" ? change(usual.index(manifest)) : usual.index(manifest)),
        };
        const code = await outcome(resolve({ fetch: inMemory(build(parts)) }));
        seen.set(code, (seen.get(code) ?? 0) + 1);
      }
    }
  }
  expect([...seen.keys()].sort()).toEqual([
    "RUNTIME_IMAGE_INVALID",
    "RUNTIME_IMAGE_NOT_FOUND",
    "RUNTIME_PLATFORM_MISSING",
    "fine",
  ]);
});

test("bytes that are no document are told as that", async () => {
  const good = Buffer.from(JSON.stringify(usual.index(Buffer.from("{}"))));
  const bodies = [
    "",
    "null",
    "[]",
    "1",
    '"x"',
    "{",
    "{}",
    '{"manifests":1}',
    "<html>502</html>",
    "[".repeat(3_000_000),
    good.subarray(0, good.length - 1),
    Buffer.from([0xff, 0xfe, 0x7b, 0]),
    Buffer.alloc(1_000, 0xc3),
    good.swap16(),
  ];
  for (const body of bodies) {
    hostile.on("/v2/x/manifests/1", body);
    expect(await outcome(resolve())).toBe("RUNTIME_IMAGE_INVALID");
  }
});

test("a body is read up to its bound and no further: endless, packed, or longer than it said", async () => {
  const block = Buffer.alloc(64 * 1024, "[");
  const image = build(usual);
  const packed = gzipSync(Buffer.alloc(256 << 20, " "), { level: 1 });
  const before = process.memoryUsage().rss;
  const config = image.blobs[0] ?? new Uint8Array();
  const cases: (() => void)[] = [
    () => hostile.on("/v2/x/manifests/1", hostile.endless(block)),
    () => hostile.on("/v2/x/manifests/1", hostile.endless(Buffer.from("\n"))),
    () =>
      hostile.on("/v2/x/manifests/1", (_, response) => {
        response.writeHead(200, { "content-encoding": "gzip" });
        response.end(packed);
      }),
    () =>
      hostile.on("/v2/x/manifests/1", (_, response) => {
        response.writeHead(200, { "content-encoding": "gzip, gzip" });
        response.end(gzipSync(packed));
      }),
    () => hostile.on(`/v2/x/blobs/${digestOf(config)}`, hostile.endless(block)),
  ];
  for (const arrange of cases) {
    hostile.forget();
    hostile.serve(image);
    arrange();
    await expect(resolve()).rejects.toMatchObject({ code: "RUNTIME_IMAGE_INVALID" });
    expect(hostile.sentBytes).toBeLessThan(32 << 20);
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(128 << 20);
});

test("a layer never brings more than it said, whether or not the registry knows ranges", async () => {
  const layer = { ...named(Buffer.alloc(1_000), types.layer) };
  const registry = new Registry(parseReference(`${hostile.host}/x:1`));
  for (const status of [200, 206])
    for (const offset of [0, 400]) {
      hostile.forget();
      hostile.on("/v2/x/blobs", hostile.endless(Buffer.alloc(300), {}, status));
      let got = 0;
      const reading = async (): Promise<void> => {
        for await (const chunk of registry.blob(layer, offset)) got += chunk.length;
      };
      expect(await outcome(reading())).toBe("RUNTIME_DIGEST_MISMATCH");
      expect(got).toBeLessThanOrEqual(1_000 - offset);
    }
});

test("a server that makes no progress is cut off, wherever it stops", async () => {
  const image = build(usual);
  const layer = named(Buffer.alloc(1 << 20), types.layer);
  const challenge = { "www-authenticate": `Bearer realm="http://${hostile.host}/token"` };
  const cases: [string, () => void, (options: RegistryOptions) => Promise<unknown>][] = [
    ["before its answer", () => hostile.on("/v2/x/manifests/1", () => undefined), resolve],
    ["within a manifest", () => hostile.on("/v2/x/manifests/1", hostile.stalled("{")), resolve],
    ["within a configuration", () => hostile.on("/v2/x/blobs", hostile.stalled("{")), resolve],
    [
      "within a token",
      () => {
        hostile.on("/v2/x/manifests/1", (_, response) => void response.writeHead(401, challenge).end());
        hostile.on("/token", hostile.stalled("{"));
      },
      resolve,
    ],
    ["within a refusal", () => hostile.on("/v2/x/manifests/1", hostile.stalled("{", 500)), resolve],
    [
      "within a layer",
      () => hostile.on(`/v2/x/blobs/${layer.digest}`, hostile.stalled("some")),
      async (options) => {
        for await (const _ of new Registry(parseReference(`${hostile.host}/x:1`), options).blob(layer, 0)) continue;
      },
    ],
  ];
  for (const [where, arrange, ask] of cases) {
    hostile.forget();
    hostile.serve(image);
    // The configuration is asked for by digest, which is the longer route.
    if (where === "within a configuration")
      hostile.on(`/v2/x/blobs/${digestOf(image.blobs[0] ?? "")}`, hostile.stalled("{"));
    arrange();
    const clock = new FakeClock();
    const begin = clock.monotonic();
    let over: string | undefined;
    void outcome(ask({ clock })).then((code) => (over = code));
    await until(`it is cut off ${where}`, () => {
      if (over === undefined) clock.advance(5_000);
      return over !== undefined;
    });
    expect(over, where).toBe(
      where === "within a refusal" ? "RUNTIME_REGISTRY_REFUSED" : "RUNTIME_REGISTRY_UNREACHABLE",
    );
    expect(clock.monotonic() - begin, where).toBeLessThan(200_000);
  }
});

test("a reader that is slow is no reason to cut a server off", async () => {
  const layer = named(Buffer.alloc(300_000), types.layer);
  hostile.on("/v2/x/blobs", Buffer.alloc(300_000));
  const clock = new FakeClock();
  let got = 0;
  for await (const chunk of new Registry(parseReference(`${hostile.host}/x:1`), { clock }).blob(layer, 0)) {
    got += chunk.length;
    clock.advance(600_000);
  }
  expect(got).toBe(300_000);
});

test("an index is searched within bounds: entries without a word, indexes in indexes, thousands of layers", async () => {
  const image = build({ config: { ...usual.config, architecture: "s390x" }, manifest: usual.manifest });
  const silent = Array.from({ length: 5_000 }, () => named(image.root, types.manifest));
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: types.index, manifests: silent }));
  hostile.serve({ root: index, blobs: [...image.blobs, image.root] });
  expect(await outcome(resolve())).toBe("RUNTIME_IMAGE_INVALID");
  expect(hostile.asked.length).toBeLessThan(50);
  let inner: Uint8Array = image.root;
  const all: Uint8Array[] = [...image.blobs, inner];
  for (let level = 0; level < 6; level += 1)
    all.push((inner = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [named(inner, "")] }))));
  hostile.forget();
  hostile.serve({ root: inner, blobs: all });
  expect(await outcome(resolve())).toBe("RUNTIME_IMAGE_INVALID");
  for (const [count, code] of [
    [500, "RUNTIME_IMAGE_INVALID"], // of which its configuration knows one
    [501, "RUNTIME_IMAGE_INVALID"],
    [20_000, "RUNTIME_IMAGE_INVALID"],
  ] as const) {
    const layers = Array.from({ length: count }, (_, i) => named(Buffer.from(String(i)), types.layer));
    hostile.forget();
    hostile.serve(build({ ...usual, manifest: (config) => ({ ...usual.manifest(config), layers }) }));
    expect(await outcome(resolve())).toBe(code);
  }
});

test("each answer is told as what it is, with what the registry says itself", async () => {
  const table: [number, Record<string, string>, string][] = [
    [400, {}, "RUNTIME_REGISTRY_REFUSED"],
    [401, {}, "RUNTIME_REGISTRY_UNAUTHORIZED"],
    [403, {}, "RUNTIME_REGISTRY_UNAUTHORIZED"],
    [404, {}, "RUNTIME_IMAGE_NOT_FOUND"],
    [408, {}, "RUNTIME_REGISTRY_REFUSED"],
    [418, {}, "RUNTIME_REGISTRY_REFUSED"],
    [429, { "retry-after": "17" }, "RUNTIME_REGISTRY_REFUSED"],
    [451, {}, "RUNTIME_REGISTRY_REFUSED"],
    [500, {}, "RUNTIME_REGISTRY_REFUSED"],
    [503, {}, "RUNTIME_REGISTRY_REFUSED"],
    [304, {}, "RUNTIME_REGISTRY_REFUSED"],
    [302, {}, "RUNTIME_REGISTRY_REFUSED"],
    [302, { location: "file:///etc/passwd" }, "RUNTIME_REGISTRY_REFUSED"],
    [302, { location: "http://198.51.100.1/x" }, "RUNTIME_REGISTRY_REFUSED"],
    [302, { location: "//[" }, "RUNTIME_REGISTRY_REFUSED"],
  ];
  const body = JSON.stringify({ errors: [{ code: "TOOMANY", message: "slow\ndown" }] });
  for (const [status, headers, code] of table) {
    hostile.on("/v2/x/manifests/1", (_, response) => void response.writeHead(status, headers).end(body));
    const error: unknown = await resolve().catch((e: unknown) => e);
    expect(error, String(status)).toMatchObject({ code });
    if (status >= 400) expect((error as Error).message).toContain("TOOMANY, slow down");
    if (status === 429) expect((error as Error).message).toContain("asks to wait 17 s");
  }
});

test("a token server's refusal is told as its own, and only 401 and 403 are a login's", async () => {
  const challenge = { "www-authenticate": `Bearer realm="http://${hostile.host}/token",service="r"` };
  hostile.on("/v2/x/manifests/1", (_, response) => void response.writeHead(401, challenge).end());
  for (const [status, code] of [
    [401, "RUNTIME_REGISTRY_UNAUTHORIZED"],
    [403, "RUNTIME_REGISTRY_UNAUTHORIZED"],
    [404, "RUNTIME_REGISTRY_REFUSED"],
    [429, "RUNTIME_REGISTRY_REFUSED"],
    [500, "RUNTIME_REGISTRY_REFUSED"],
  ] as const) {
    hostile.on("/token", (_, response) => void response.writeHead(status).end());
    const error: unknown = await resolve().catch((e: unknown) => e);
    expect(error, String(status)).toMatchObject({ code });
    expect((error as Error).message).toContain("the token server of");
  }
  for (const body of [
    "",
    "null",
    "[]",
    "{}",
    '{"token":1}',
    '{"token":"a\\nb"}',
    '{"token":""}',
    "x".repeat(1 << 20),
  ]) {
    hostile.on("/token", body);
    expect(await outcome(resolve())).toBe("RUNTIME_REGISTRY_REFUSED");
  }
});

const login: RegistryAuth = { username: "me", password: "secret" };
const basic = `Basic ${Buffer.from("me:secret").toString("base64")}`;

test.each<[string, (host: string) => string | string[], RegistryAuth | undefined, string]>([
  [
    "a token, as Docker's registry asks",
    (h) => `Bearer realm="http://${h}/token",service="r",scope="a:b"`,
    undefined,
    "Bearer T",
  ],
  [
    "a token, unquoted and spaced oddly",
    (h) => `BEARER  service = r ,, realm="http://${h}/token"`,
    undefined,
    "Bearer T",
  ],
  [
    "a token after a password, in one line",
    (h) => `Basic realm="x, y", Bearer realm="http://${h}/token"`,
    undefined,
    "Bearer T",
  ],
  [
    "a token before a password, as Gitea asks",
    (h) => [`Bearer realm="http://${h}/token",scope="*"`, 'Basic realm="Gitea"'],
    undefined,
    "Bearer T",
  ],
  [
    "a token after a password, as Forgejo asks",
    (h) => ['Basic realm="Forgejo"', `Bearer realm="http://${h}/token",scope="*"`],
    login,
    "Bearer T",
  ],
  ["a password", () => 'basic realm="x"', login, basic],
  ["a password, with nothing said of it", () => "Basic", login, basic],
  [
    "a password after schemes that nobody knows",
    () => 'Negotiate, Digest qop="auth", NTLM TlRMTVNTUAAB==, Basic realm=x',
    login,
    basic,
  ],
  [
    "a password where the token server is not there",
    () => ['Bearer realm="http://127.0.0.1:1/token"', "Basic realm=x"],
    login,
    basic,
  ],
  [
    "an escaped quote in a realm",
    (h) => `Basic realm="a\\"b, Bearer c", bearer realm="http://${h}/token"`,
    undefined,
    "Bearer T",
  ],
])("a login is answered: %s", async (_, challenge, auth, expected) => {
  const image = build(usual);
  hostile.serve(image);
  hostile.on("/token", JSON.stringify({ token: "T" }));
  for (const path of [`/v2/x/manifests/1`, `/v2/x/manifests/${digestOf(image.blobs[1] ?? "")}`])
    hostile.on(path, (request, response) => {
      if (request.headers.authorization === expected) response.end(path.endsWith("/1") ? image.root : image.blobs[1]);
      else response.writeHead(401, { "www-authenticate": challenge(hostile.host) }).end();
    });
  await resolve({ auth });
  expect(hostile.asked.at(-1)?.authorization).toBe(expected);
});

test("no header of any form does more than fail", async () => {
  const pieces = [
    "Bearer",
    "Basic",
    " ",
    ",",
    "=",
    '"',
    "\\",
    "realm",
    `"http://${hostile.host}/token"`,
    "a=b",
    "%",
    "\t",
    ";",
    "é",
  ];
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  hostile.on("/token", "{}");
  for (let i = 0; i < 400; i += 1) {
    const header = Array.from({ length: random(12) }, () => pieces[random(pieces.length)]).join("");
    hostile.on("/v2/x/manifests/1", (_, response) => {
      response.writeHead(401, { "www-authenticate": Buffer.from(header).toString("latin1") }).end();
    });
    expect(await outcome(resolve({ auth: login })), header).toMatch(/^RUNTIME_REGISTRY_/);
  }
});

test("nobody far away is believed who names an address of this machine", async () => {
  const asked: string[] = [];
  const fetcher = ((url: URL) => {
    asked.push(url.href);
    const token = { "www-authenticate": 'Bearer realm="https://localhost/token"' };
    const on = { location: "https://127.0.0.1/x" };
    return Promise.resolve(
      new Response("", url.pathname.endsWith("/1") ? { status: 401, headers: token } : { status: 307, headers: on }),
    );
  }) as typeof fetch;
  const registry = new Registry(parseReference("r.test/x:1"), { fetch: fetcher, auth: login });
  expect(await outcome(registry.manifest("1"))).toBe("RUNTIME_REGISTRY_REFUSED");
  expect(await outcome(registry.manifest("2"))).toBe("RUNTIME_REGISTRY_REFUSED");
  expect(asked.map((url) => new URL(url).host)).toEqual(["r.test", "r.test"]);
});

test("a registry that is slow holds up no pull from another", async () => {
  hostile.on("/v2/x/manifests/1", () => undefined);
  const abort = new AbortController();
  const slow = new Registry(parseReference(`${hostile.host}/x:1`)).manifest("1", abort.signal);
  await using other = await HostileRegistry.start();
  other.serve(build(usual));
  await new Registry(parseReference(`${other.host}/x:1`)).manifest("1");
  abort.abort(new Error("given up"));
  await expect(slow).rejects.toThrow("given up");
});
