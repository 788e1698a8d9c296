import { expect, test } from "vitest";
import { canonicalRegistry, parseReference, pinReference, referenceFault, registryFault } from "../src/index.ts";

const digest = `sha256:${"ab".repeat(32)}`;

test.each([
  ["nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"],
  ["me/app:2", "docker.io", "me/app", "2", "docker.io/me/app:2"],
  ["docker.io/nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"],
  ["index.docker.io/library/nginx:1", "docker.io", "library/nginx", "1", "docker.io/library/nginx:1"],
  ["registry-1.docker.io/me/app", "docker.io", "me/app", "latest", "docker.io/me/app:latest"],
  ["localhost:5000/a/b", "localhost:5000", "a/b", "latest", "localhost:5000/a/b:latest"],
  ["localhost/a", "localhost", "a", "latest", "localhost/a:latest"],
  ["GHCR.io/a/b:V1", "ghcr.io", "a/b", "V1", "ghcr.io/a/b:V1"],
  ["[::1]:5000/x", "[::1]:5000", "x", "latest", "[::1]:5000/x:latest"],
  ["r.test/a__b/c--d.e_f", "r.test", "a__b/c--d.e_f", "latest", "r.test/a__b/c--d.e_f:latest"],
  [`r.test/x@${digest}`, "r.test", "x", digest, `r.test/x@${digest}`],
  [`r.test/x:1@${digest}`, "r.test", "x", digest, `r.test/x:1@${digest}`],
])("%s is read as Docker reads it", (ref, registry, repository, selector, full) => {
  expect(parseReference(ref)).toMatchObject({ registry, repository, selector, full });
  expect(referenceFault(ref)).toBeUndefined();
});

test.each([
  "",
  "Upper",
  "a//b",
  "a:b:c",
  "x@sha256:12",
  "r.test/",
  "../x",
  "a___b",
  "x@sha512:00",
  "http://r.test/x",
  "a b",
  "r.test/x:",
  "r.test/x:-1",
  `r.test/x:${"t".repeat(129)}`,
  `r.test/${"x".repeat(250)}`,
  "x\n",
  "-r.test:/x",
])("%j is refused as a name, and why is told", (ref) => {
  expect(() => parseReference(ref)).toThrow(expect.objectContaining({ code: "RUNTIME_REFERENCE_INVALID" }));
  expect(referenceFault(ref)).toEqual(expect.any(String));
});

test("what is refused is told in few words, however long it was", () => {
  expect(referenceFault("x".repeat(100_000))?.length).toBeLessThan(300);
});

test("a login for Docker's registry is one, by whatever name it was given", () => {
  for (const name of ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO"])
    expect(canonicalRegistry(name)).toBe("docker.io");
  expect(canonicalRegistry("Registry.Example:5000")).toBe("registry.example:5000");
});

test("a registry is a host and no address of the web", () => {
  for (const good of ["docker.io", "r.test:5000", "localhost", "[fd00::1]:5000", "a"])
    expect(registryFault(good)).toBeUndefined();
  for (const bad of ["", "https://r.test", "r.test/x", "r.test:", "r..test", "r.test:123456"])
    expect(registryFault(bad)).toEqual(expect.any(String));
});

test("a digest is added, and the tag stays for people", () => {
  expect(pinReference(parseReference("nginx:1.27"), digest)).toBe(`docker.io/library/nginx:1.27@${digest}`);
  expect(pinReference(parseReference(`r.test/x@sha256:${"00".repeat(32)}`), digest)).toBe(`r.test/x@${digest}`);
});
