/** ufw and firewalld: the worker notices what they keep from tasks, and the commands that it names cure it. */
import { until } from "@warren/std/testing";
import { beforeEach, expect, test } from "vitest";
import type { Machine } from "../machine.ts";
import { answers, create, machineAt, patienceMs, read } from "./cluster.ts";

let machine: Machine;
beforeEach(async () => {
  machine = await machineAt("cluster");
});

interface Condition {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

/** What the node says of rules that are in its tasks' way. */
async function conditions(): Promise<readonly Condition[]> {
  const { nodes } = JSON.parse(await read(machine, "node list -o json")) as {
    readonly nodes: readonly { readonly description?: { readonly conditions?: readonly Condition[] } }[];
  };
  const all = nodes.flatMap(({ description }) => description?.conditions ?? []);
  return all.filter(({ code }) => code.startsWith("FIREWALL_"));
}

/** Waits until the worker has logged it: that costs the machine less than to ask by the command line. */
async function logged(pattern: string): Promise<void> {
  const line = `journalctl -b -u warren-worker -o cat --no-pager | grep -E '${pattern}'`;
  await until(`the worker logs ${pattern}`, async () => (await machine.sh(line)).code === 0, patienceMs);
}

test.each([
  { firewall: "ufw", on: "ufw allow 22/tcp && ufw --force enable", keepsPorts: true },
  { firewall: "firewalld", on: "systemctl start firewalld", keepsPorts: false },
])("what $firewall keeps is noticed, and the commands that are named cure it", async ({ firewall, on, keepsPorts }) => {
  await create(machine, "client", "--", "sleep", "1000000");
  const byName = async (): Promise<boolean> =>
    (await machine.sh("warren exec client.1 -- timeout 20 wget -qO- http://web/")).code === 0;
  const byPort = (): Promise<boolean> => answers(`http://${machine.address("published")}/`);
  expect(await conditions()).toEqual([]);
  expect([await byName(), await byPort()]).toEqual([true, true]);

  await machine.ok(on);
  await logged("FIREWALL_NAMES.*the node has a condition");
  const found = await conditions();
  expect(found.map(({ code }) => code)).toContain("FIREWALL_NAMES");
  expect([await byName(), await byPort()]).toEqual([false, !keepsPorts]);
  for (const { message } of found) expect(message).toContain(`by the rules of ${firewall}`);
  expect(await read(machine, "why web")).toContain(firewall);

  for (const remedy of new Set(found.map(({ remedy }) => remedy))) await machine.ok(remedy);
  await logged("FIREWALL_NAMES.*a condition of the node has ended");
  await until("nothing is kept any more", async () => (await conditions()).length === 0, patienceMs);
  expect([await byName(), await byPort()]).toEqual([true, true]);
});
