import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { authOf, dockerLogins, readDockerLogins } from "../src/docker-logins.ts";

const encoded = (text: string): string => Buffer.from(text).toString("base64");
const config = JSON.stringify({
  auths: {
    "https://index.docker.io/v1/": { auth: encoded("me:pa:ss") },
    "registry.example:5000": {},
    "token.example": { identitytoken: "t" },
  },
  credsStore: "desktop",
  credHelpers: { "cloud.example": "cloud" },
});

test("logins of Docker's file are found, in it or behind a helper, under the names that images have", () => {
  expect(dockerLogins(config)).toEqual([
    { kind: "auth", registry: "docker.io", auth: { username: "me", password: "pa:ss" } },
    { kind: "helper", registry: "registry.example:5000", helper: "desktop", server: "registry.example:5000" },
    { kind: "unusable", registry: "token.example", why: "Docker has an identity token for it, not a password" },
    { kind: "helper", registry: "cloud.example", helper: "cloud", server: "cloud.example" },
  ]);
  expect(() => dockerLogins("{")).toThrow("it is not JSON");
});

test("a helper is asked for the server's name, and its answer is the login", async () => {
  const folder = mkdtempSync(join(tmpdir(), "warren-docker-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const helper = (name: string, script: string): void => {
    writeFileSync(join(folder, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, `docker-credential-${name}`), 0o755);
  };
  helper("good", `read server; echo "{\\"Username\\":\\"me\\",\\"Secret\\":\\"of $server\\"}"`);
  helper("token", `echo '{"Username":"<token>","Secret":"t"}'`);
  helper("bad", "echo credentials not found; exit 1");
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"]}`);
  const of = (name: string) => authOf({ kind: "helper", registry: "r", helper: name, server: "https://r/v1" });
  expect(await of("good")).toEqual({ username: "me", password: "of https://r/v1" });
  await expect(of("token")).rejects.toThrow("identity token");
  await expect(of("bad")).rejects.toThrow("docker-credential-bad: credentials not found");
  await expect(of("none")).rejects.toThrow("docker-credential-none is not installed");
});

test("without a file of Docker's, it is said where it would be", async () => {
  vi.stubEnv("DOCKER_CONFIG", "/nowhere");
  await expect(readDockerLogins()).rejects.toThrow("/nowhere/config.json: there is no such file");
});
