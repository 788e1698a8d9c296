/** One case of the contract of task networks, in a network namespace that this process has for itself. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeConditions } from "@warren/agent";
import { taskNetworkContract } from "@warren/agent/testing";
import { createNetns, deleteNetns, openNetlink } from "@warren/netlink-napi";
import { noMetrics, silentLogger, systemClock, systemRandom } from "@warren/std";
import { NodeTaskNetwork } from "../../src/task-network.ts";

const [title] = process.argv.slice(2);
const found = taskNetworkContract.find((each) => each.title === title);
if (found === undefined) throw new Error(`no case "${title ?? ""}"`);

const label = "warren task ";
const folder = await mkdtemp(join(tmpdir(), "warren-network-"));
const netlink = openNetlink();
const namespaces: string[] = [];
let last: NodeTaskNetwork | undefined;
try {
  await found.run({
    settings: { nodeSubnet: "10.77.1.0/24", taskPool: "10.77.0.0/16", vipPool: "10.96.0.0/16" },
    async connect() {
      await last?.close();
      const base = { clock: systemClock, random: systemRandom, log: silentLogger, metrics: noMetrics };
      const conditions = new NodeConditions(base);
      last = new NodeTaskNetwork(
        { ...base, conditions },
        { netnsDirectory: join(folder, "netns"), dnsUpstreams: ["127.0.0.1:1"] },
      );
      return last;
    },
    async namespace() {
      const path = join(folder, String(namespaces.length));
      await createNetns(path);
      namespaces.push(path);
      return path;
    },
    async attached() {
      const links = await netlink.links();
      const aliases = links.map(({ alias }) => alias ?? "").filter((alias) => alias.startsWith(label));
      return aliases
        .map((alias) => alias.slice(label.length))
        .filter((id) => id !== "warren-probe")
        .toSorted();
    },
  });
} finally {
  await last?.close();
  for (const path of namespaces) await deleteNetns(path);
  await rm(folder, { recursive: true, force: true });
}
process.exit(0);
