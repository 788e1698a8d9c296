import { describe, expect, it } from "vitest";
import {
  canonicalRegistry,
  formatImageReference,
  parseImageReference,
  registryFault,
  registryOfImage,
  type ImageReference,
} from "@warren/std";

const digest = `sha256:${"a".repeat(64)}`;

describe("an image reference", () => {
  it.each([
    ["nginx", "docker.io", "library/nginx", undefined, undefined],
    ["nginx:1.29", "docker.io", "library/nginx", "1.29", undefined],
    ["team/app", "docker.io", "team/app", undefined, undefined],
    ["docker.io/nginx", "docker.io", "library/nginx", undefined, undefined],
    ["index.docker.io/team/app:2", "docker.io", "team/app", "2", undefined],
    ["registry-1.docker.io/team/app", "docker.io", "team/app", undefined, undefined],
    ["localhost/app", "localhost", "app", undefined, undefined],
    ["localhost:5000/a/b", "localhost:5000", "a/b", undefined, undefined],
    ["registry.example:5000/a/b/c:x", "registry.example:5000", "a/b/c", "x", undefined],
    ["GHCR.io/a/b:V1", "ghcr.io", "a/b", "V1", undefined],
    ["[::1]:5000/app", "[::1]:5000", "app", undefined, undefined],
    ["r.test/a__b/c--d.e_f", "r.test", "a__b/c--d.e_f", undefined, undefined],
    [`app@${digest}`, "docker.io", "library/app", undefined, digest],
    [`app:1@${digest}`, "docker.io", "library/app", "1", digest],
  ])(
    "%s is read as Docker reads it, and its canonical text reads the same",
    (text, registry, repository, tag, wanted) => {
      const reference = parseImageReference(text);
      expect(reference).toEqual({ registry, repository, tag, digest: wanted });
      expect(parseImageReference(formatImageReference(reference as ImageReference))).toEqual(reference);
    },
  );

  it.each([
    ["", /missing/],
    ["Nginx", /lower case/],
    ["a//b", /not a valid/],
    ["a:b:c", /not a valid/],
    ["../x", /not a (valid|registry)/],
    ["a___b", /not a valid/],
    ["a b", /not a valid/],
    ["x\n", /not a valid/],
    ["app@sha256:12", /digest/],
    ["app@sha512:00", /digest/],
    ["reg.example:port/app", /not a registry/],
    ["http://r.test/x", /not a registry/],
    ["-r.test:/x", /not a registry/],
    ["r.test/", /not a valid/],
    ["r.test/x:", /not a valid/],
    ["r.test/x:-1", /not a valid/],
    [`r.test/x:${"t".repeat(129)}`, /not a valid/],
    [`r.test/${"x".repeat(250)}`, /longer than 255/],
    ["a".repeat(600), /longer than 512/],
    ["app:", /not a valid/],
  ])("%j is refused with the reason", (text, fault) => {
    expect(parseImageReference(text)).toEqual({ fault: expect.stringMatching(fault) as string });
  });

  it("has a short error however long the text is", () => {
    for (const text of ["x".repeat(100_000), `${"x.".repeat(200)}:/y`]) {
      const read = parseImageReference(text);
      expect("fault" in read && read.fault.length).toBeLessThanOrEqual(200);
    }
  });
});

describe("a registry", () => {
  it("has one name, Docker's too, so that a login under any of them is found", () => {
    for (const name of ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO"])
      expect(canonicalRegistry(name)).toBe("docker.io");
    expect(canonicalRegistry("Registry.Example:5000")).toBe("registry.example:5000");
    expect(registryOfImage("nginx")).toBe("docker.io");
    expect(registryOfImage("index.docker.io/x")).toBe("docker.io");
    expect(registryOfImage("GHCR.io/x/y")).toBe("ghcr.io");
    expect(registryOfImage("Not An Image")).toBeUndefined();
  });

  it("is HOST or HOST:PORT and not a URL", () => {
    for (const good of ["docker.io", "r.test:5000", "localhost", "[fd00::1]:5000", "a"])
      expect(registryFault(good)).toBeUndefined();
    for (const bad of ["", "r.test/x", "r.test:", "r..test", "r.test:123456"])
      expect(registryFault(bad)).toMatch(/want HOST or HOST:PORT/);
    expect(registryFault("https://r.test")).toMatch(/scheme/);
  });
});
