import { describe, expect, it } from "vitest";
import { isRegistryHost, parseImageReference, registryName, registryOfImage } from "@warren/std";

const digest = `sha256:${"a".repeat(64)}`;

describe("an image reference", () => {
  it.each([
    ["nginx", "docker.io", "library/nginx", undefined, undefined],
    ["nginx:1.29", "docker.io", "library/nginx", "1.29", undefined],
    ["team/app", "docker.io", "team/app", undefined, undefined],
    ["docker.io/nginx", "docker.io", "library/nginx", undefined, undefined],
    ["index.docker.io/team/app:2", "docker.io", "team/app", "2", undefined],
    ["localhost/app", "localhost", "app", undefined, undefined],
    ["registry.example:5000/a/b/c:x", "registry.example:5000", "a/b/c", "x", undefined],
    ["[::1]:5000/app", "[::1]:5000", "app", undefined, undefined],
    [`app@${digest}`, "docker.io", "library/app", undefined, digest],
    [`app:1@${digest}`, "docker.io", "library/app", "1", digest],
  ])("%s is read as Docker reads it", (text, registry, repository, tag, wanted) => {
    expect(parseImageReference(text)).toEqual({ registry, repository, tag, digest: wanted });
  });

  it.each([
    ["", /missing/],
    ["Nginx", /lower case/],
    ["a//b", /not a valid/],
    ["app@sha256:12", /digest/],
    ["reg.example:port/app", /not a registry/],
    ["a".repeat(600), /longer/],
    ["app:", /not a valid/],
  ])("%j is refused, with what is wrong", (text, fault) => {
    expect(parseImageReference(text)).toEqual({ fault: expect.stringMatching(fault) as string });
  });

  it("names the registry whose login a pull needs, Docker's under one name", () => {
    expect(registryOfImage("nginx")).toBe("docker.io");
    expect(registryOfImage("index.docker.io/x")).toBe("docker.io");
    expect(registryOfImage("Not An Image")).toBeUndefined();
    expect(registryName("index.docker.io")).toBe("docker.io");
    expect(isRegistryHost("https://x")).toBe(false);
  });
});
