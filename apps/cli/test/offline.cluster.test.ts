/** A node without a manager: what runs goes on, answers by name and address, and is balanced, a restart of the worker included. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { Task } from "@warren/api";
import { slotKeyText } from "@warren/api/model";
import { until } from "@warren/std/testing";
import { Machine } from "./machine.ts";

const run = promisify(execFile);

/** Runs the image's shell in a task's mounts and network, past manager and worker. */
async function inside(task: Task | undefined, script: string): Promise<string> {
  const pid = String(task?.status?.container?.pid ?? 0);
  const command = ["-t", pid, "--mount", "--net", "/bin/sh", "-c", script];
  return (await run("nsenter", command).catch((error: { stdout: string }) => error)).stdout;
}

test("without a manager, and with a worker that was killed meanwhile, services run and answer; then it is back", async () => {
  await using machine = await Machine.start();
  const serve = "mkdir /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www";
  const config = { Cmd: ["sh", "-c", serve], StopSignal: "SIGKILL" };
  const image = await machine.push("offline/web:1", { config });
  const health = ["--health-http", "80/", "--health-interval", "200ms", "--restart-delay", "100ms"];
  await machine.ok("service", "create", "web", "--image", image, "--replicas", "3", "-p", "0:80", ...health);
  await machine.ok("service", "create", "client", "--image", image);
  const port = (await machine.client.services.get({ ref: "web" })).endpoint?.ports[0]?.published ?? 0;
  const web = await machine.running("web");
  const [client] = await machine.running("client");
  const byName = (name: string): Promise<string> => inside(client, `timeout 2 wget -qO- http://${name}/`);
  const byPort = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/`)).text();
  const answers = async (ask: () => Promise<string>, among: number): Promise<Set<string>> => {
    const seen = new Set<string>();
    for (let i = 0; i < 200 && seen.size < among; i++) seen.add(await ask());
    return seen;
  };
  const all = await answers(byPort, 3);
  expect(all.size).toBe(3);

  await machine.killDaemon("manager");
  expect(await answers(byPort, 3)).toEqual(all);
  await machine.killDaemon("worker");
  // Rules and interfaces are the kernel's: without a worker they lead on.
  expect(await answers(byPort, 3)).toEqual(all);
  await machine.startDaemon("worker");
  await until("names are answered", async () => all.has(await byName("web")), 20_000);
  expect(await answers(() => byName("web"), 3)).toEqual(all);
  for (const task of web) expect(all).toContain(await byName(`${slotKeyText(task.slot)}.web`));
  expect(await answers(byPort, 3)).toEqual(all);

  // One that dies leaves the balancer, with nobody to tell.
  const gone = await byName("1.web");
  process.kill(web[0]?.status?.container?.pid ?? 0, "SIGKILL");
  const left = new Set([...all].filter((name) => name !== gone));
  await until("it left the balancer", async () => {
    const now: string[] = [];
    for (let i = 0; i < 20; i++) now.push(await byPort().catch(() => "refused"));
    return now.every((name) => left.has(name));
  });
  expect(await answers(() => byName("web"), 2)).toEqual(left);

  await machine.startDaemon("manager");
  const after = await until(
    "three run again",
    async () => {
      const now = await machine.running("web").catch(() => []);
      return now.length === 3 && now[0]?.meta?.id !== web[0]?.meta?.id && now;
    },
    30_000,
  );
  expect(after.slice(1).map(({ status }) => status?.container?.pid)).toEqual(
    web.slice(1).map(({ status }) => status?.container?.pid),
  );
  expect(await machine.ok("service", "tasks", "web")).toContain("exit code 137");
  expect((await answers(byPort, 3)).size).toBe(3);
});
