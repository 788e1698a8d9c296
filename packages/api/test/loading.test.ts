import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";

/** Which files are loaded with a module, in a process of its own. */
async function loadedWith(module: string): Promise<readonly string[]> {
  const script = `
    import { registerHooks } from "node:module";
    const urls = [];
    registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
    await import(${JSON.stringify(module)});
    console.log(JSON.stringify(urls));
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=warren-source", "--input-type=module", "--eval", script],
    { cwd: import.meta.dirname },
  );
  return JSON.parse(stdout) as string[];
}

const heavy = /\/zod\/|\/generated\/descriptors|@bufbuild\/protobuf\/dist\/esm\/(?:registry|to-json)/;

it("the types bring neither gRPC, nor checks, nor JSON", { timeout: 30_000 }, async () => {
  const urls = await loadedWith("@warren/api");
  expect(urls.some((url) => url.endsWith("/generated/warren/v1/service.ts"))).toBe(true);
  expect(urls.filter((url) => heavy.test(url) || url.includes("grpc-js"))).toEqual([]);
});

it("the client brings neither checks, nor JSON, nor the server", { timeout: 30_000 }, async () => {
  const urls = await loadedWith("@warren/api/client");
  expect(urls.some((url) => url.includes("grpc-js"))).toBe(true);
  expect(urls.filter((url) => heavy.test(url) || url.includes("/api/src/server/"))).toEqual([]);
});

it("what is looked for is found where it is", { timeout: 30_000 }, async () => {
  expect((await loadedWith("@warren/api/json")).some((url) => heavy.test(url))).toBe(true);
  expect((await loadedWith("@warren/api/spec")).some((url) => heavy.test(url))).toBe(true);
});
