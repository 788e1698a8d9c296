import { describe, expect, it } from "vitest";
import { matchConstraints, parseConstraints, SchedulerError, type ConstrainedNode } from "../src/index.ts";

const node: ConstrainedNode = {
  id: "n1",
  hostname: "edge-3",
  role: "worker",
  address: "10.1.2.3",
  platform: { os: "linux", arch: "arm64" },
  labels: { Zone: "North", empty: "" },
  engineLabels: { disk: "ssd" },
};
const sixth: ConstrainedNode = { id: "n6", role: "manager", address: "2001:db8::2" };

describe("constraints", () => {
  it.each<[string, boolean]>([
    ["node.id == N1", true],
    ["NODE.ID==n1", true],
    ["node.id != n1", false],
    ["node.hostname == edge-*", true],
    ["node.hostname == *ge*3", true],
    ["node.hostname == edge-3*3", false],
    ["node.hostname != edge-*", false],
    ["node.hostname == edge.3", false],
    ["node.hostname == edge-?", true],
    ["node.hostname == edge?", false],
    ["node.hostname == ?*-*", true],
    ["node.hostname == *", true],
    ["node.hostname in (a*, EDGE-?)", true],
    ["node.hostname not in (a*, edge-?)", false],
    ["node.role == Worker", true],
    ["node.platform.os == linux", true],
    ["node.platform.arch != amd64", true],
    ["node.labels.Zone == north", true],
    ["node.labels.zone == north", false],
    ["node.labels.absent != x", true],
    ["node.labels.toString exists", false],
    ["engine.labels.disk == ssd", true],
    ["node.ip == 10.1.2.3", true],
    ["node.ip != 10.1.2.3", false],
    ["node.ip == 10.1.0.0/16", true],
    ["node.ip != 10.2.0.0/16", true],
    ["node.ip == 10.1.0.0/33", false],
    ["node.ip == 10.1.0.0/0", true],
    ["node.ip in (192.168.0.0/16, 10.1.2.3)", true],
    ["node.ip not in (192.168.0.0/16, 10.1.2.3)", false],
    ["node.ip in (10.1.2.3, nonsense)", false],
    ["node.ip == ::ffff:10.1.2.3", true],
    ["node.ip == ::ffff:10.1.0.0/112", true],
    ["node.ip exists", true],
    ["Node.Labels.Zone == north", true],
    ["Engine.Labels.disk == SSD", true],
    ["engine.labels.Disk == ssd", false],
    ["engine.labels.absent != x", true],
    ["node.labels. == x", false],
    ["node == n1", false],
    ["node != n1", false],
    ["node.platform.os exists", true],
    ["node.ip != nonsense", false],
    ["node.colour != red", false],
    ["node.labels.Zone in (south, north)", true],
    ["node.labels.Zone not in (south, north)", false],
    ["node.labels.absent notin (south)", true],
    ["node.labels.empty exists", true],
    ["node.labels.absent exists", false],
  ])("%s is %s", (expression, expected) => {
    expect(matchConstraints(parseConstraints([expression]), node)).toBe(expected);
  });

  it("an IPv6 address is compared as an address, not as text", () => {
    expect(matchConstraints(parseConstraints(["node.ip == 2001:DB8:0::2"]), sixth)).toBe(true);
    expect(matchConstraints(parseConstraints(["node.ip == 2001:db8::/32"]), sixth)).toBe(true);
    expect(matchConstraints(parseConstraints(["node.ip == 10.0.0.0/8"]), sixth)).toBe(false);
  });

  it("an attribute that a node lacks counts as empty: == fails and != holds", () => {
    const bare: ConstrainedNode = { id: "x", role: "worker" };
    for (const key of ["node.hostname", "node.platform.os", "node.platform.arch", "node.labels.a", "engine.labels.a"]) {
      expect(matchConstraints(parseConstraints([`${key} == a`]), bare)).toBe(false);
      expect(matchConstraints(parseConstraints([`${key} != a`]), bare)).toBe(true);
      expect(matchConstraints(parseConstraints([`${key} exists`]), bare)).toBe(false);
    }
    expect(matchConstraints(parseConstraints(["node.ip == 10.0.0.0/8"]), bare)).toBe(false);
    expect(matchConstraints(parseConstraints(["node.ip != 10.0.0.0/8"]), bare)).toBe(true);
  });

  it.each([
    ["x86_64", "node.platform.arch == amd64", true],
    ["amd64", "node.platform.arch == x86_64", true],
    ["amd64", "node.platform.arch != x86_64", false],
    ["aarch64", "node.platform.arch in (amd64, arm64)", true],
    ["arm64", "node.platform.arch == AARCH64", true],
    ["arm64", "node.platform.arch == arm*", true],
    ["armv7l", "node.platform.arch == arm", true],
    ["armv7l", "node.platform.arch == armv7l", true],
    ["armv7l", "node.platform.arch == armhf", true],
    ["armv6l", "node.platform.arch == armv7l", false],
    ["armv6l", "node.platform.arch != armv7l", true],
    ["armv7l", "node.platform.arch == arm/v7", true],
    ["i686", "node.platform.arch == 386", true],
    ["riscv64", "node.platform.arch == riscv64", true],
  ])("a node of %s: %j is %s", (arch, expression, met) => {
    const of: ConstrainedNode = { id: "x", role: "worker", platform: { os: "Linux", arch } };
    expect(matchConstraints(parseConstraints([expression]), of)).toBe(met);
    expect(matchConstraints(parseConstraints(["node.platform.os == linux"]), of)).toBe(true);
  });

  it("the role matches in any case of letters", () => {
    const of: ConstrainedNode = { id: "x", role: "manager" };
    expect(matchConstraints(parseConstraints(["node.role == Manager"]), of)).toBe(true);
    expect(matchConstraints(parseConstraints(["node.role != worker"]), of)).toBe(true);
    expect(matchConstraints(parseConstraints(["node.role == worker"]), of)).toBe(false);
  });

  it("a glob of many stars is refused quickly", () => {
    const long: ConstrainedNode = { id: "x", role: "worker", hostname: "a".repeat(2_000) };
    const glob = `${"a*".repeat(200)}b`;
    expect(matchConstraints(parseConstraints([`node.hostname == ${glob}`]), long)).toBe(false);
  });

  it("operands are trimmed", () => {
    expect(parseConstraints(["  node.id==  n1 ", "node.labels.a notin (x , y)", "node.labels.b exists"])).toEqual([
      { key: "node.id", operator: "==", values: ["n1"] },
      { key: "node.labels.a", operator: "not in", values: ["x", "y"] },
      { key: "node.labels.b", operator: "exists", values: [] },
    ]);
  });

  it("every constraint must hold", () => {
    expect(matchConstraints(parseConstraints(["node.id == n1", "node.role == manager"]), node)).toBe(false);
    expect(matchConstraints([], node)).toBe(true);
  });

  it.each([
    "node.id",
    "node.id = n1",
    "== n1",
    "node id == n1",
    "node.id ==",
    "node.id == a>b",
    "node.id in ()",
    "1x == y",
  ])("%j is refused", (expression) => {
    expect(() => parseConstraints([expression])).toThrow(SchedulerError);
  });
});
