import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  NetlinkError,
  changeNetns,
  createNetns,
  deleteNetns,
  isNetns,
  listNetns,
  openNetlink,
  type Change,
  type RulesChange,
} from "@warren/netlink-napi";
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { until } from "@warren/std/testing";

let lab: Lab;
let host: LabHost;
beforeEach(async () => {
  lab = await Lab.open();
  host = await lab.host("host");
});
afterEach(() => lab[Symbol.asyncDispose]());

describe("links", () => {
  test("a veth pair is created with its far end in another namespace, with the requested name and MTU", async () => {
    const other = await lab.host("other");
    await host.netlink.createVeth({ name: "near", peerName: "eth0", peerNetns: other.path, mtu: 1_420 });
    const near = await host.netlink.link("near");
    const far = await other.netlink.link("eth0");
    expect(near).toMatchObject({ kind: "veth", mtu: 1_420, up: false, peerIndex: far!.index });
    expect(far).toMatchObject({ kind: "veth", mtu: 1_420, peerIndex: near!.index });
    expect(await host.netlink.link("eth0")).toBeUndefined();
    expect((await host.netlink.links()).map(({ name }) => name)).toEqual(expect.arrayContaining(["lo", "near"]));
  });

  test("a link is renamed, labelled and brought up; deleting it deletes its other end", async () => {
    await host.netlink.createVeth({ name: "a", peerName: "b" });
    await host.netlink.changeLink("a", { name: "c", alias: "a label", mtu: 1_300, up: true });
    expect(await host.netlink.link("c")).toMatchObject({ alias: "a label", mtu: 1_300, up: true });
    await host.netlink.deleteLink("c");
    expect(await host.netlink.link("b")).toBeUndefined();
  });

  test("a refusal has errno's name as its code, and the attempted change in its message", async () => {
    await host.netlink.createVeth({ name: "a", peerName: "b" });
    await expect(host.netlink.createVeth({ name: "a", peerName: "x" })).rejects.toMatchObject({ code: "EEXIST" });
    const gone = await host.netlink.deleteLink("none").catch((error: unknown) => error);
    expect(NetlinkError.is(gone, "ENODEV")).toBe(true);
    expect((gone as Error).message).toContain("cannot delete link none");
    await expect(host.netlink.addAddress("a", "10.0.0.300/8")).rejects.toMatchObject({ code: "EINVAL" });
    expect(() => openNetlink("/nowhere")).toThrow(expect.objectContaining({ code: "ENOENT" }));
  });
});

test("several changes are made in one call, in order, up to the first that fails, which the error names", async () => {
  const { netlink } = host;
  const other = await lab.host("other");
  await changeNetns(other.path, [
    { sysctl: "net/ipv4/conf/default/accept_redirects", value: "0" },
    { veth: { name: "eth0", peerName: "near", peerNetns: netlink.netns, mtu: 1_420 } },
    { link: "eth0", address: "10.1.0.2/32" },
    { link: "eth0", change: { up: true } },
    { route: { destination: "169.254.1.1", link: "eth0" } },
  ]);
  const [near, far] = [await netlink.link("near"), await other.netlink.link("eth0")];
  expect(far).toMatchObject({ mtu: 1_420, up: true, peerIndex: near!.index });
  expect(await other.netlink.readSysctl("net/ipv4/conf/eth0/accept_redirects")).toBe("0");
  expect(await other.netlink.routes()).toMatchObject([{ destination: "169.254.1.1/32", linkIndex: far!.index }]);
  const failed = netlink.changeAll([
    { sysctl: "net/ipv4/conf/near/no_such", value: "1", ifPresent: true },
    { link: "near", address: "10.1.0.1/32" },
    { link: "none", change: { up: true } },
    { link: "near", change: { alias: "never" } },
  ]);
  await expect(failed).rejects.toMatchObject({ code: "ENODEV", message: expect.stringContaining("change link none") });
  expect((await netlink.addresses()).map(({ address }) => address)).toContain("10.1.0.1/32");
  expect((await netlink.link("near"))?.alias).toBeUndefined();
  await expect(netlink.changeAll([{ sysctl: "net/ipv4/conf/near/no_such", value: "1" }])).rejects.toMatchObject({
    code: "ENOENT",
  });
  await expect(changeNetns("/nowhere", [{ link: "lo", change: { up: true } }])).rejects.toMatchObject({
    code: "ENOENT",
  });
});

test("addresses and routes, once set, are listed, set again without harm, and removed", async () => {
  const { netlink } = host;
  await netlink.createVeth({ name: "a", peerName: "b" });
  await netlink.changeLink("a", { up: true });
  await netlink.changeLink("b", { up: true });
  const { index } = (await netlink.link("a"))!;
  for (let times = 0; times < 2; times++) {
    await netlink.addAddress("a", "10.1.0.1/24");
    await netlink.addAddress("a", "fd01::1/64");
    await netlink.putRoute({ destination: "169.254.1.1", link: "a" });
    await netlink.putRoute({ destination: "0.0.0.0/0", gateway: "169.254.1.1", link: "a" });
    await netlink.putRoute({ destination: "10.9.0.0/16", kind: "unreachable", metric: 7 });
  }
  const addresses = (await netlink.addresses())
    .filter(({ linkIndex }) => linkIndex === index)
    .map(({ address }) => address);
  expect(addresses).toEqual(expect.arrayContaining(["10.1.0.1/24", "fd01::1/64"]));
  expect(await netlink.routes()).toEqual(
    expect.arrayContaining([
      { destination: "169.254.1.1/32", linkIndex: index, kind: "unicast" },
      { destination: "0.0.0.0/0", gateway: "169.254.1.1", linkIndex: index, kind: "unicast" },
      expect.objectContaining({ destination: "10.9.0.0/16", kind: "unreachable", metric: 7 }),
    ]),
  );
  await netlink.deleteRoute({ destination: "10.9.0.0/16", kind: "unreachable", metric: 7 });
  await netlink.deleteAddress("a", "10.1.0.1/24");
  expect((await netlink.routes()).filter(({ destination }) => destination === "10.9.0.0/16")).toEqual([]);
  expect((await netlink.addresses()).map(({ address }) => address)).not.toContain("10.1.0.1/24");
  await expect(netlink.deleteRoute({ destination: "10.9.0.0/16" })).rejects.toMatchObject({ code: "ESRCH" });
});

test("a namespace lives at its path until it is deleted, and its sysctls are its own", async () => {
  const folder = join(lab.folder, "named");
  await mkdir(folder);
  const path = join(folder, "one");
  expect(await listNetns(join(folder, "none"))).toEqual([]);
  await createNetns(path);
  await expect(createNetns(path)).rejects.toMatchObject({ code: "EEXIST" });
  expect(await isNetns(path)).toBe(true);
  expect(await isNetns(join(folder, "two"))).toBe(false);
  expect(await listNetns(folder)).toEqual([path]);
  const inside = openNetlink(path);
  await inside.writeSysctls({ "net/ipv4/ip_forward": "1", "net/ipv4/conf/lo/route_localnet": "1" });
  expect(await inside.readSysctl("net/ipv4/ip_forward")).toBe("1");
  expect(await host.netlink.readSysctl("net/ipv4/conf/lo/route_localnet")).toBe("0");
  await expect(inside.readSysctl("kernel/../net/ipv4/ip_forward")).rejects.toMatchObject({ code: "EINVAL" });
  await deleteNetns(path);
  await deleteNetns(path);
  expect(await listNetns(folder)).toEqual([]);
});

test("a watch notifies of new and deleted links, addresses and routes, and of nothing after it is closed", async () => {
  const changes: Change[] = [];
  const watch = host.netlink.watch(["link", "address", "route"], (change) => changes.push(change));
  const saw = (what: Change["what"], key: string, value: string): Promise<boolean> =>
    until(`${key} ${value} is ${what}`, () =>
      changes.some((c) => c.what === what && JSON.stringify(c).includes(`"${key}":"${value}"`)),
    );
  await host.netlink.createVeth({ name: "a", peerName: "b" });
  await saw("new", "name", "a");
  await host.netlink.addAddress("a", "10.1.0.1/24");
  await saw("new", "address", "10.1.0.1/24");
  await host.netlink.changeLink("a", { up: true });
  await host.netlink.putRoute({ destination: "10.5.0.0/16", link: "a" });
  await saw("new", "destination", "10.5.0.0/16");
  await host.netlink.deleteLink("a");
  await saw("deleted", "name", "a");
  watch.close();
  const count = changes.length;
  await host.netlink.createVeth({ name: "c", peerName: "d" });
  expect(changes).toHaveLength(count);
});

test("a watch of the rules notifies of each transaction once, with its tables and new chains", async () => {
  const changes: RulesChange[] = [];
  using _watch = host.netlink.watchRules((change) => changes.push(change));
  await host.run("nft", ["-f", "-"], "table ip one {\n chain x { }\n}\ntable ip two { }\n");
  await until("the transaction is notified", () => changes.length > 0);
  expect(changes).toEqual([
    {
      what: "new",
      tables: [
        { name: "one", newChains: ["x"] },
        { name: "two", newChains: [] },
      ],
    },
  ]);
  await host.run("nft", ["flush", "ruleset"]);
  await until("the flush is notified", () => changes.length > 1);
  expect(changes[1]).toMatchObject({ tables: [{ name: "one" }, { name: "two" }] });
});

test("flows are ended by protocol, destination and the address that answers", async () => {
  const other = await lab.host("other");
  await lab.wire(host, "10.3.0.1/24", other, "10.3.0.2/24");
  // Flows are tracked where a rule asks for their state.
  const tracking = (hook: string): string =>
    `chain ${hook} {\ntype filter hook ${hook} priority 0\nct state new accept\n}\n`;
  const { code } = await host.run("nft", ["-f", "-"], `table ip t {\n${tracking("input")}${tracking("output")}}\n`);
  expect(code).toBe(0);
  await other.serve("other", 5_000);
  await host.serve("host", 6_000);
  expect(await host.send("10.3.0.2", 5_000, 7_000)).toMatchObject({ name: "other" });
  expect(await other.send("10.3.0.1", 6_000, 7_001)).toMatchObject({ name: "host" });
  const udp = { protocol: 17 };
  expect(await host.netlink.deleteFlows([{ ...udp, destination: "10.3.0.2", exceptAnsweredBy: ["10.3.0.2"] }])).toBe(0);
  expect(await host.netlink.deleteFlows([{ protocol: 6 }])).toBe(0);
  expect(await host.netlink.deleteFlows([{ ...udp, destinationPort: 5_000, toLocal: true }])).toBe(0);
  expect(await host.netlink.deleteFlows([{ ...udp, destinationPort: 6_000, toLocal: true }])).toBe(1);
  expect(await host.netlink.deleteFlows([{ ...udp, destination: "10.3.0.2" }])).toBe(1);
});

test("flows are ended by an address at either end, whatever their protocol", async () => {
  const other = await lab.host("other");
  await lab.wire(host, "10.3.0.1/24", other, "10.3.0.2/24");
  const rules = `table ip t {
chain output { type filter hook output priority 0; ct state new accept; }
chain input { type filter hook input priority 0; ct state new accept; }
chain nat { type nat hook output priority -100; ip daddr 10.9.0.1 udp dport 5000 dnat to 10.3.0.2; }
}\n`;
  expect(await host.run("nft", ["-f", "-"], rules)).toMatchObject({ code: 0 });
  await host.run("ip", ["route", "add", "10.9.0.0/24", "dev", "lo"]);
  await other.serve("other", 5_000);
  await host.serve("host", 6_000);
  // To it directly, to it by another address, and from it.
  expect(await host.send("10.3.0.2", 5_000, 7_000)).toMatchObject({ name: "other" });
  expect(await host.send("10.9.0.1", 5_000, 7_002)).toMatchObject({ name: "other" });
  expect(await other.send("10.3.0.1", 6_000, 7_001)).toMatchObject({ name: "host" });
  const { netlink } = host;
  const ends = ["10.3.0.1", "10.3.0.2"];
  expect(
    await netlink.deleteFlows([{ endWithin: "10.3.0.0/24", exceptEnds: ends }, { endWithin: "10.4.0.0/16" }]),
  ).toBe(0);
  // Calls at once share a round, and each has its own count.
  const atOnce = [
    { end: "10.3.0.9" },
    { endWithin: "10.3.0.0/24", exceptEnds: ["10.3.0.1"] },
    { destination: "10.3.0.1" },
  ];
  expect(await Promise.all(atOnce.map((filter) => netlink.deleteFlows([filter])))).toEqual([0, 3, 1]);
  expect(await netlink.deleteFlows([{ end: "10.3.0.2" }])).toBe(0);
});

test("200 requests at once each get their own answer", async () => {
  await host.netlink.createVeth({ name: "a", peerName: "b" });
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => host.netlink.link(["lo", "a", "b", "none"][i % 4]!)),
  );
  expect(answers.map((link) => link?.name)).toEqual(
    Array.from({ length: 200 }, (_, i) => ["lo", "a", "b", undefined][i % 4]),
  );
});
