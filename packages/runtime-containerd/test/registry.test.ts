import { expect, test } from "vitest";
import { chainIds } from "../src/image-store.ts";
import { commandLine } from "../src/command-line.ts";
import { parseReference } from "@warren/runtime";
import { checkLogin, Registry, digestOf } from "../src/registry.ts";

const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: digestOf("layer"), size: 8 };
const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf("config"), size: 6 };
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  config,
  layers: [layer],
});
const digest = digestOf(manifest);
const blob = { ...layer, digest: digestOf("01234567") };

/** A registry that answers by `answer` and keeps what it was asked. */
function fake(answer: (url: URL, headers: Headers) => Response): { fetcher: typeof fetch; asked: string[] } {
  const asked: string[] = [];
  const fetcher: typeof fetch = (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    asked.push(url.href);
    return Promise.resolve(answer(url, new Headers(init?.headers)));
  };
  return { fetcher, asked };
}

test("a bearer challenge is answered with a token for this repository, asked for with the login", async () => {
  const { fetcher, asked } = fake((url, headers) => {
    if (url.pathname === "/token")
      return headers.get("authorization") === `Basic ${btoa("me:secret")}`
        ? Response.json({ token: "T" })
        : new Response("", { status: 401 });
    if (headers.get("authorization") === "Bearer T") return new Response(manifest);
    const challenge = 'Bearer realm="https://auth.test/token",service="reg",scope="repository:x:pull"';
    return new Response("", { status: 401, headers: { "www-authenticate": challenge } });
  });
  const reference = parseReference("r.test/x:1");
  const found = await new Registry(reference, {
    auth: { username: "me", password: "secret" },
    fetch: fetcher,
  }).manifest("1");
  expect(found.descriptor.digest).toBe(digest);
  expect(asked[1]).toBe("https://auth.test/token?scope=repository%3Ax%3Apull&service=reg");
  const anonymous = new Registry(reference, { fetch: fetcher }).manifest("1");
  await expect(anonymous).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNAUTHORIZED", retryable: true });
});

test("a login is never sent to a token server over plain HTTP", async () => {
  const { fetcher, asked } = fake(
    () => new Response("", { status: 401, headers: { "www-authenticate": 'Bearer realm="http://auth.test/token"' } }),
  );
  const registry = new Registry(parseReference("r.test/x"), {
    auth: { username: "me", password: "secret" },
    fetch: fetcher,
  });
  await expect(registry.manifest("latest")).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_REFUSED" });
  expect(asked).toEqual(["https://r.test/v2/x/manifests/latest"]);
});

test("plain HTTP is for loopback alone", async () => {
  for (const [host, scheme] of [
    ["127.0.0.1:5", "http"],
    ["localhost:5", "http"],
    ["127.0.0.1.evil.test", "https"],
    ["10.0.0.1:5", "https"],
  ]) {
    const { fetcher, asked } = fake(() => new Response(manifest));
    await new Registry(parseReference(`${host}/x`), { fetch: fetcher }).manifest("latest");
    expect(asked[0]).toBe(`${scheme}://${host}/v2/x/manifests/latest`);
  }
});

test("a manifest that is not what its digest says is refused", async () => {
  const { fetcher } = fake(() => new Response("{}"));
  await expect(new Registry(parseReference("r.test/x"), { fetch: fetcher }).manifest(digest)).rejects.toMatchObject({
    failure: { code: "RUNTIME_DIGEST_MISMATCH", expected: digest },
  });
});

test.each([206, 200])("a blob goes on from its offset, where the registry answers %i", async (status) => {
  const { fetcher } = fake((_, headers) => {
    expect(headers.get("range")).toBe("bytes=4-");
    return new Response(status === 206 ? "4567" : "01234567", { status });
  });
  const parts: string[] = [];
  for await (const part of new Registry(parseReference("r.test/x"), { fetch: fetcher }).blob(blob, 4))
    parts.push(Buffer.from(part).toString());
  expect(parts.join("")).toBe("4567");
});

test("a command drops the image's arguments; arguments alone keep its entrypoint", () => {
  const image = { entrypoint: ["/e"], cmd: ["c"] };
  expect(commandLine(image, undefined, undefined)).toEqual(["/e", "c"]);
  expect(commandLine(image, undefined, ["a"])).toEqual(["/e", "a"]);
  expect(commandLine(image, ["/x"], undefined)).toEqual(["/x"]);
  expect(() => commandLine({ entrypoint: [], cmd: [] }, undefined, undefined)).toThrow(
    expect.objectContaining({ code: "RUNTIME_SPEC_INVALID" }),
  );
});

test("a chain id covers all layers up to it, by OCI's formula", () => {
  const [a, b] = [digestOf("a"), digestOf("b")];
  expect(chainIds([a, b])).toEqual([a, digestOf(`${a} ${b}`)]);
});

test("a blob elsewhere is followed, without the login, and never to plain HTTP or in a circle", async () => {
  const login = { username: "me", password: "secret" };
  const seen: [string, string | null][] = [];
  const registry = (to: string): Registry => {
    const { fetcher } = fake((url, headers) => {
      seen.push([url.host, headers.get("authorization")]);
      if (url.host === "cdn.test" && to !== "https://cdn.test/x") return Response.json({}, { status: 500 });
      if (url.host === "cdn.test") return new Response("blob");
      if (headers.get("authorization") === null)
        return new Response("", { status: 401, headers: { "www-authenticate": "Basic realm=x" } });
      return new Response("", { status: 307, headers: { location: to } });
    });
    return new Registry(parseReference("r.test/x"), { auth: login, fetch: fetcher });
  };
  const read = async (from: Registry): Promise<string> => {
    const parts: Uint8Array[] = [];
    for await (const part of from.blob({ ...blob, size: 4 }, 0)) parts.push(part);
    return Buffer.concat(parts).toString();
  };
  expect(await read(registry("https://cdn.test/x"))).toBe("blob");
  expect(seen.at(-1)).toEqual(["cdn.test", null]);
  for (const to of ["http://cdn.test/x", "ftp://cdn.test/x", "/v2/again"])
    await expect(read(registry(to))).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_REFUSED" });
  expect(seen.filter(([host]) => host === "cdn.test")).toHaveLength(1);
});

test("a blob that breaks off at a mirror goes on at the registry from there", async () => {
  const ranges: (string | null)[] = [];
  const { fetcher } = fake((url, headers) => {
    ranges.push(headers.get("range"));
    if (url.host === "r.test") return new Response("4567", { status: 206 });
    let sent = false;
    const cut = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent) controller.error(new Error("connection lost"));
        else controller.enqueue(Buffer.from("0123"));
        sent = true;
      },
    });
    return new Response(cut);
  });
  const registry = new Registry(parseReference("r.test/x"), { fetch: fetcher, mirrors: ["m.test/cache"] });
  let text = "";
  for await (const part of registry.blob(blob, 0)) text += Buffer.from(part).toString();
  expect(text).toBe("01234567");
  expect(ranges).toEqual([null, "bytes=4-"]);
});

test("a mirror that can't be trusted is refused when it is set", () => {
  expect(() => new Registry(parseReference("r.test/x"), { mirrors: ["http://mirror.test"] })).toThrow(
    expect.objectContaining({ code: "RUNTIME_REFERENCE_INVALID" }),
  );
});

const auth = { username: "me", password: "secret" };
const basic = `Basic ${btoa("me:secret")}`;

test("a login is checked at the base of the registry's API, with a token that is for no repository", async () => {
  const { fetcher, asked } = fake((url, headers) => {
    const authorization = headers.get("authorization");
    if (url.pathname === "/token")
      return authorization === basic ? Response.json({ token: "T" }) : new Response("", { status: 401 });
    if (authorization === "Bearer T") return Response.json({});
    const challenge = 'Bearer realm="https://auth.test/token",service="reg"';
    return new Response("", { status: 401, headers: { "www-authenticate": challenge } });
  });
  expect(await checkLogin("r.test", auth, { fetch: fetcher })).toBe(true);
  expect(asked).toEqual(["https://r.test/v2/", "https://auth.test/token?service=reg", "https://r.test/v2/"]);
  const wrong = checkLogin("r.test", { ...auth, password: "other" }, { fetch: fetcher });
  await expect(wrong).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNAUTHORIZED" });
});

test("a login is checked by basic authentication, and one that a registry does not ask for is not shown to it", async () => {
  const locked = fake((_, headers) =>
    headers.get("authorization") === basic
      ? new Response("{}")
      : new Response("", { status: 401, headers: { "www-authenticate": 'Basic realm="r"' } }),
  );
  expect(await checkLogin("r.test", auth, { fetch: locked.fetcher })).toBe(true);
  const wrong = checkLogin("r.test", { ...auth, password: "other" }, { fetch: locked.fetcher });
  await expect(wrong).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNAUTHORIZED" });
  let shown = "";
  const open = fake((_, headers) => {
    shown += headers.get("authorization") ?? "";
    return new Response("{}");
  });
  expect(await checkLogin("docker.io", auth, { fetch: open.fetcher })).toBe(false);
  expect(open.asked).toEqual(["https://registry-1.docker.io/v2/"]);
  expect(shown).toBe("");
});

test.each([
  ["ECONNREFUSED", "nothing listens there"],
  ["ENOTFOUND", "there is no such host"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "its certificate is not trusted on this machine"],
])("a registry that can't be reached is said in words, not as %s", async (code, text) => {
  const fetcher: typeof fetch = () =>
    Promise.reject(new TypeError("fetch failed", { cause: Object.assign(new Error(`connect ${code}`), { code }) }));
  const asked = new Registry(parseReference("r.test/x"), { fetch: fetcher }).manifest("latest");
  await expect(asked).rejects.toMatchObject({
    code: "RUNTIME_REGISTRY_UNREACHABLE",
    message: `r.test can't be reached: ${text}`,
  });
});

test("a port that fetch refuses is said in words", async () => {
  const asked = new Registry(parseReference("127.0.0.1:6000/x")).manifest("latest");
  await expect(asked).rejects.toThrow("127.0.0.1:6000 can't be reached: its port is one that web clients refuse");
});
