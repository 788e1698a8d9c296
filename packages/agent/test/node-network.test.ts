import { silentLogger } from "@warren/std";
import { FakeClock, seededRandom } from "@warren/std/testing";
import { expect, test } from "vitest";
import { NodeNetwork } from "../src/node-network.ts";
import type { TaskAttachment, TaskNetwork } from "../src/seams.ts";

test("interfaces of another node, which this machine was before, are not adopted, or the network would never open", async () => {
  const expected: (readonly TaskAttachment[])[] = [];
  const network: TaskNetwork = {
    open: async (_settings, attachments) => {
      expected.push(attachments);
      return { adopted: attachments.map(({ id }) => id) };
    },
    attach: async () => undefined,
    detach: async () => undefined,
    setEndpoints: async () => undefined,
  };
  const node = new NodeNetwork(network, { clock: new FakeClock(), random: seededRandom(1), log: silentLogger });
  const settings = { nodeSubnet: "10.77.1.0/24", taskPool: "10.77.0.0/16", vipPool: "10.96.0.0/16" };
  const attachment = (id: string, address: string): TaskAttachment => ({
    id,
    address,
    networks: [],
    nameServers: [],
    netnsPath: "/n",
  });
  const { signal } = new AbortController();
  await node.open(settings, [attachment("old", "10.77.0.3"), attachment("own", "10.77.1.3")], signal);
  expect(expected).toEqual([[attachment("own", "10.77.1.3")]]);
  expect([...(await node.opened(signal))]).toEqual(["own"]);
});
