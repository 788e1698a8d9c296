/** What every service needs, on a real machine: its address, names, ports, logs, exec, and its limits' consequences. */
import { until } from "@warren/std/testing";
import { beforeAll, expect, test } from "vitest";
import type { Machine } from "../machine.ts";
import { create, machineAt, patienceMs, tasks } from "./cluster.ts";

let machine: Machine;
beforeAll(async () => {
  machine = await machineAt("cluster");
  await create(machine, "client", "--mount", "type=tmpfs,dst=/srv,mode=1770", "--", "sleep", "1000000");
});

const inClient = (line: string): Promise<string> => machine.ok(`warren exec client.1 -- sh -c '${line}'`);

test("names lead to the VIP and to each task, and the VIP to every task", async () => {
  const seen = new Set<string>();
  await until(
    "both tasks have answered",
    async () => {
      const text = await inClient("for n in 1 2 3 4 5 6 7 8; do wget -qO- http://web/; done; wget -qO- http://2.web/");
      for (const line of text.trim().split("\n")) seen.add(line);
      return seen.size === 2;
    },
    patienceMs,
  );
  expect((await inClient("nslookup tasks.web")).match(/10\.77\.\d+\.\d+/g)?.length).toBe(2);
});

test("names of the outside go through the machine's resolver on 127.0.0.53", async () => {
  expect(await machine.ok("cat /etc/resolv.conf")).toContain("nameserver 127.0.0.53");
  expect(await inClient("nslookup outside.example")).toContain("192.0.2.7");
});

test("the machine's own name, which is 127.0.1.1 to itself, leads a container to an address of the machine", async () => {
  expect(await machine.ok("getent ahostsv4 machine.example")).toContain("127.0.1.1");
  const addresses = await machine.ok("hostname -I");
  const answer = await inClient("nslookup machine");
  const found = answer.split("\n").flatMap((line) => /^Address.*?:? (10\.\d+\.\d+\.\d+)$/.exec(line)?.[1] ?? []);
  expect(answer).not.toContain("127.0.1.1");
  expect(found.some((address) => addresses.split(/\s+/).includes(address))).toBe(true);
});

test("a published port answers from outside the machine", async () => {
  const url = `http://${machine.address("published")}/`;
  expect(await (await fetch(url, { signal: AbortSignal.timeout(60_000) })).text()).toMatch(/\S/);
});

test("exec ends with the command's code, and logs have what was written", async () => {
  expect((await machine.sh("warren exec client.1 -- sh -c 'exit 7'")).code).toBe(7);
  expect(await machine.ok("echo hello | warren exec -i client.1 -- cat")).toBe("hello\n");
  expect(await machine.ok("warren service logs web --tail 5")).toContain("serving");
});

test("a tmpfs on a directory of the image has the mode that it asks for", async () => {
  expect(await inClient("stat -c %a /srv")).toBe("1770\n");
});

test("AppArmor is on, and containers run under it", async () => {
  expect(await machine.ok("cat /sys/module/apparmor/parameters/enabled")).toBe("Y\n");
  expect(await inClient("cat /proc/1/attr/current")).toMatch(/^unconfined|docker/);
});

test("a task above its memory limit is ended alone, and said to be out of memory", async () => {
  const command = ["sh", "-c", "head -c 200000000 /dev/zero | tail"];
  const flags = ["--limit-memory", "32m", "--restart-condition", "none", "--detach"];
  await create(machine, "hungry", ...flags, "--", ...command);
  const ended = await until(
    "it has ended",
    async () => (await tasks(machine, "hungry")).find(({ state }) => state === "FAILED" || state === "COMPLETE"),
    patienceMs,
  );
  expect(ended).toMatchObject({ state: "FAILED", code: "AGENT_OUT_OF_MEMORY" });
  expect(await inClient("echo lives")).toBe("lives\n");
});
