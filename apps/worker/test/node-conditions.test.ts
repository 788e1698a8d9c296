import { expect, test } from "vitest";
import { firewallConditions, portConditions, runtimeConditions } from "../src/node-conditions.ts";

test("each known hole of the machine's runc is a condition, with the versions that mend it", () => {
  const found = runtimeConditions({ ociRuntime: "runc 1.4.2" });
  expect(found).toMatchObject([
    { code: "RUNTIME_FAULT", subject: "CVE-2026-41579", remedy: expect.stringContaining("1.4.3") },
  ]);
  expect(found[0]?.message).toMatch(/^runc 1\.4\.2: /);
  expect(runtimeConditions({})).toEqual([]);
});

test("a port that is not published concerns its service, and says how it would be", () => {
  const withheld = [
    { serviceId: "id-1", protocol: "tcp", published: 22, reason: "in use" },
    { serviceId: "id-2", protocol: "udp", published: 51_820, reason: "reserved" },
  ] as const;
  const [used, reserved] = portConditions(withheld, new Map([["id-1", "web"]]));
  expect(used).toEqual({
    code: "PORT_IN_USE",
    subject: "22/tcp",
    serviceIds: ["id-1"],
    message: "port 22/tcp of service web is not published: a program of the node listens on it",
    remedy: "end the program, then: warren service update web --force; or publish another port",
    command: "ss -lntp 'sport = :22'",
  });
  expect(reserved).toMatchObject({ code: "PORT_RESERVED", subject: "51820/udp", serviceIds: ["id-2"] });
});

test.each([
  [
    "ufw",
    /the rules of ufw$/,
    "ufw allow from 10.77.0.0/16 to 169.254.1.1 port 53",
    /^ufw route allow from 10\.77\.0\.0\/16/,
  ],
  ["firewalld", /the rules of firewalld$/, /service name=dns accept' && firewall-cmd --reload$/, /--new-policy=warren/],
  [undefined, /rules of another program$/, /iptables -I INPUT/, /iptables -I FORWARD/],
] as const)(
  "what %s keeps from tasks concerns every task, with the command that cures it",
  (firewall, by, names, ways) => {
    const settings = { taskPool: "10.77.0.0/16", gateway: "169.254.1.1" };
    const blocked = (["names", "services", "tasks", "published"] as const).map((path) => ({
      path,
      how: "dropped" as const,
    }));
    const found = firewallConditions(blocked, firewall, settings);
    expect(found.map(({ code }) => code)).toEqual([
      "FIREWALL_NAMES",
      "FIREWALL_SERVICES",
      "FIREWALL_TASKS",
      "FIREWALL_PUBLISHED",
    ]);
    for (const { everyTask, message } of found) {
      expect(everyTask).toBe(true);
      expect(message).toMatch(by);
    }
    const [first, ...others] = found;
    expect(first?.remedy).toMatch(names);
    // What to run where the rules are another program's own depends on that program.
    for (const { remedy, command } of found) expect(command).toBe(firewall === undefined ? undefined : remedy);
    for (const { remedy } of others) expect(remedy).toMatch(ways);
  },
);
