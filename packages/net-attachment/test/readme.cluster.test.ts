import { rm } from "node:fs/promises";
import { expect, test } from "vitest";
import { Lab } from "@warren/netlink-napi/testing";
import { runReadmeExample } from "@warren/std/testing";

// Here for all three: they need the same rig.
test.each([
  ["netlink-napi", "10.0.0.2/24"],
  ["net-loadbalancer", ""],
  ["net-attachment", "look inside: nsenter --net=/run/demo-netns/t1"],
])("the example that the README of %s begins with runs, and leaves nothing behind", async (name, output) => {
  await using lab = await Lab.open();
  const node = await lab.host("node");
  const links = await node.netlink.links();
  const finished = await runReadmeExample(new URL(`../../${name}/`, import.meta.url), [
    "nsenter",
    `--net=${node.path}`,
  ]);
  await rm("/run/demo-netns", { recursive: true, force: true });
  expect(finished.stderr).toBe("");
  expect(finished.code).toBe(0);
  expect(finished.stdout).toContain(output);
  expect((await node.netlink.links()).map((link) => link.name)).toEqual(links.map((link) => link.name));
  expect((await node.run("nft", ["list", "ruleset"])).stdout).toBe("");
});
