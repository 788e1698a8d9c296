/** Where images come from: logins, tokens, digests, mirrors; what can't be had; what is no longer used. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Runtime } from "@warren/runtime";
import { pushImage, startRegistry, type TestRegistry } from "@warren/runtime-containerd/testing";
import { until } from "@warren/std/testing";
import { Machine } from "./machine.ts";
import { startTokenRegistry } from "./token-registry.ts";

const login = { username: "me", password: "s3cret:with a colon" };
const sleeps = { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } };
/** What `service create` gets, so that a failure is tried again soon. */
const fast = ["--restart-delay", "100ms"];

let mirror: TestRegistry;
let machine: Machine;
let runtime: Runtime;
beforeAll(async () => {
  mirror = await startRegistry();
  const workerFlags = [
    "--image-grace",
    "300ms",
    "--log-grace",
    "300ms",
    "--registry-mirror",
    `registry.test=http://${mirror.host}`,
  ];
  machine = await Machine.start({ workerFlags });
  runtime = await machine.bed.open();
}, 120_000);
afterAll(async () => {
  await runtime?.close();
  await machine?.[Symbol.asyncDispose]();
  await mirror?.[Symbol.asyncDispose]();
}, 120_000);

/** What `service tasks` and `why` say of a service that can't have its image. */
async function toldOf(service: string): Promise<{ readonly tasks: string; readonly why: string }> {
  const tasks = await until(
    `${service} is rejected`,
    async () => {
      const text = await machine.ok("service", "tasks", service);
      return text.includes("rejected") && text;
    },
    30_000,
  );
  return { tasks, why: await machine.ok("why", service) };
}

async function runsSoon(service: string): Promise<void> {
  await until(`${service} runs`, async () => (await machine.running(service)).length === 1, 30_000);
}

test("an image behind a password is rejected, and runs once the cluster is told the login", async () => {
  await using locked = await startRegistry(login);
  const image = await pushImage(locked, "private/app:1", sleeps);
  await machine.ok("service", "create", "private", "--image", image, "--detach", ...fast);
  const { tasks, why } = await toldOf("private");
  expect(tasks).toContain(image);
  expect(why).toContain("warren registry login");
  const wrong = await machine.pipe("wrong\n", "registry", "login", locked.host, "-u", "me", "--password-stdin");
  expect(wrong).toMatchObject({ code: 1, stdout: "" });
  expect(wrong.stderr).toMatch(/^error: \S+ refused the login, so it was not stored: .*check the user name/);
  expect(await machine.ok("registry", "list", "-o", "name")).toBe("");
  const right = [locked.host, "-u", login.username, "--password-stdin"];
  const done = await machine.pipe(`${login.password}\n`, "registry", "login", ...right);
  expect(done).toEqual({
    code: 0,
    stdout: `${locked.host} accepted the login; it is stored for every node\n`,
    stderr: "",
  });
  await runsSoon("private");
  const listed = await machine.ok("registry", "list", "-o", "json");
  expect(listed).toContain(locked.host);
  expect(listed).not.toContain(login.password);
  await machine.ok("service", "delete", "private");
  await machine.ok("registry", "logout", locked.host);
  expect(await machine.ok("registry", "list", "-o", "name")).toBe("");
});

test("a service may name the login that its image is pulled with, and nobody reads the password back", async () => {
  await using locked = await startRegistry(login);
  const image = await pushImage(locked, "own/app:1", sleeps);
  const given = ["registry", "login", "deploy.example", "-u", login.username, "--password-stdin"];
  expect(await machine.pipe(`${login.password}\n`, ...given)).toMatchObject({ code: 0 });
  const unnamed = await machine.warren(
    "service",
    "create",
    "own",
    "--image",
    image,
    "--registry-login",
    "other.example",
  );
  expect(unnamed).toMatchObject({ code: 1, stderr: expect.stringContaining("warren registry login") as string });
  await machine.ok(
    "service",
    "create",
    "own",
    "--image",
    image,
    "--update-monitor",
    "0",
    "--registry-login",
    "deploy.example",
  );
  for (const read of [
    ["service", "inspect", "own", "-o", "json"],
    ["service", "list", "-o", "json"],
    ["task", "list", "-o", "json"],
    ["events", "-o", "json"],
  ])
    expect(await machine.ok(...read)).not.toContain(login.password);
  // What is read and written back does not lose it.
  await machine.ok("service", "update", "own", "--env", "A=1");
  await machine.ok("service", "delete", "own");
  await machine.ok("registry", "logout", "deploy.example");
});

test("a registry that wants tokens gets one from its token server by the login", async () => {
  await using registry = await startTokenRegistry(login);
  const image = await registry.push("token/app:1", sleeps);
  await machine.ok("service", "create", "tokens", "--image", image, "--detach", ...fast);
  expect((await toldOf("tokens")).why).toContain("warren registry login");
  expect(registry.given()).toBe(0);
  const args = ["registry", "login", registry.host, "-u", login.username, "--password-stdin"];
  expect(await machine.pipe(login.password, ...args)).toMatchObject({ code: 0 });
  await runsSoon("tokens");
  expect(registry.given()).toBeGreaterThan(0);
  await machine.ok("service", "delete", "tokens");
});

test("a digest names one image, whatever becomes of its tag", async () => {
  const what = async (image: string, files: Record<string, string>): Promise<string> => {
    await machine.push("pinned:1", { ...sleeps, files });
    await machine.ok("service", "create", "pinned", "--image", image, "--update-monitor", "0");
    const text = await machine.ok("task", "exec", "pinned.1", "--", "cat", "/what");
    await machine.ok("service", "delete", "pinned");
    return text;
  };
  const tag = await machine.push("pinned:1", { ...sleeps, files: { what: "old" } });
  const { digest } = await runtime.pull(tag);
  expect(await what(tag.replace(":1", `@${digest}`), { what: "new" })).toBe("old");
  expect(await what(tag, { what: "new" })).toBe("new");
});

test("a platform that is missing, a name that is wrong and a registry that is away are told apart", async () => {
  const foreign = await machine.push("foreign:1", { ...sleeps, architecture: "riscv64" });
  const nothing = `${machine.bed.registry.host}/nothing/here:1`;
  const away = "127.0.0.1:1/away:1";
  for (const [name, image] of Object.entries({ foreign, nothing, away }))
    await machine.ok("service", "create", name, "--image", image, "--detach", ...fast);
  const told = { foreign: await toldOf("foreign"), nothing: await toldOf("nothing"), away: await toldOf("away") };
  for (const text of Object.values(told.foreign)) expect(text).toMatch(/only for linux\/riscv64/);
  for (const text of Object.values(told.nothing)) expect(text).toContain("nothing/here:1");
  for (const text of Object.values(told.away)) expect(text).toContain("127.0.0.1:1");
  expect(new Set(Object.values(told).map(({ why }) => why.replaceAll(/\S+:1/g, ""))).size).toBe(3);
  expect(told.foreign.why).toContain("node.platform.arch");
  for (const name of Object.keys(told)) await machine.ok("service", "delete", name);
});

test("an image that is here runs when its registry is gone", async () => {
  const brief = await startRegistry();
  const image = await pushImage(brief, "brief:1", sleeps);
  await machine.ok("service", "create", "brief", "--image", image, "--update-monitor", "0");
  await brief[Symbol.asyncDispose]();
  await machine.ok("service", "scale", "brief=3");
  expect(await machine.running("brief")).toHaveLength(3);
  await machine.ok("service", "delete", "brief");
});

test("an update to a tag whose image is here needs no registry", async () => {
  const brief = await startRegistry();
  const [old = "", next = ""] = await Promise.all(
    ["1", "2"].map((version) => pushImage(brief, `back:${version}`, { ...sleeps, files: { version } })),
  );
  // One that uses it keeps it on the node.
  await machine.ok("service", "create", "stays", "--image", old, "--update-monitor", "0");
  await machine.ok("service", "create", "back", "--image", next, "--update-monitor", "0");
  await brief[Symbol.asyncDispose]();
  await machine.ok("service", "update", "back", "--image", old);
  expect(await machine.ok("task", "exec", "back.1", "--", "cat", "/version")).toBe("1");
  await machine.ok("service", "delete", "back", "stays");
});

test("a mirror serves a registry that can't be reached", async () => {
  await pushImage(mirror, "mirrored/app:1", { ...sleeps, files: { from: "the mirror" } });
  await machine.ok("service", "create", "mirrored", "--image", "registry.test/mirrored/app:1", "--update-monitor", "0");
  expect(await machine.ok("task", "exec", "mirrored.1", "--", "cat", "/from")).toBe("the mirror");
  await machine.ok("service", "delete", "mirrored");
});

test("an image is collected once no task uses it, and not before", async () => {
  const used = await machine.push("collect/used:1", { ...sleeps, files: { mine: "used" } });
  const unused = await machine.push("collect/unused:1", { ...sleeps, files: { mine: "unused" } });
  await machine.ok("service", "create", "used", "--image", used, "--update-monitor", "0");
  await machine.ok("service", "create", "unused", "--image", unused, "--update-monitor", "0");
  // A version names its image by tag and digest.
  const refs = async (): Promise<string[]> => (await runtime.images()).map(({ ref }) => ref.replace(/@.*/, ""));
  expect(await refs()).toEqual(expect.arrayContaining([used, unused]));
  await machine.ok("service", "delete", "unused");
  await until("it is collected", async () => !(await refs()).includes(unused), 20_000);
  expect(await refs()).toContain(used);
  await machine.ok("task", "exec", "used.1", "--", "cat", "/mine");
  await machine.ok("service", "delete", "used");
});
