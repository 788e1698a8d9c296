/** The units, by a real systemd. */
import { until } from "@warren/std/testing";
import { beforeAll, expect, test } from "vitest";
import type { Machine } from "../machine.ts";
import { answers, machineAt, patienceMs, pids, ready } from "./cluster.ts";

let machine: Machine;
beforeAll(async () => {
  machine = await machineAt("cluster");
});

test("the units that init installed are sound, enabled and active, and have init's flags", async () => {
  const paths = "/etc/systemd/system/warren-manager.service /etc/systemd/system/warren-worker.service";
  const verified = await machine.sh(`systemd-analyze verify ${paths}`);
  expect(verified).toMatchObject({ code: 0, stderr: "", stdout: "" });
  const states = "systemctl is-enabled warren-manager warren-worker; systemctl is-active warren-manager warren-worker";
  expect(await machine.ok(states)).toBe("enabled\nenabled\nactive\nactive\n");
  expect(await machine.ok("cat /var/lib/warren/worker.flags")).toBe("--image-grace 2h\n");
  expect(await machine.ok("cat /var/lib/warren/manager.flags")).toBe("--log-level info\n");
});

test.each(["warren-worker", "warren-manager", "containerd", "systemd-resolved"])(
  "a restart of %s ends no task",
  async (unit) => {
    const before = await pids(machine, "web");
    expect(before).toHaveLength(2);
    await machine.ok(`systemctl restart ${unit}`);
    await ready(machine);
    expect(await pids(machine, "web")).toEqual(before);
    expect(await answers(`http://${machine.address("published")}/`)).toBe(true);
  },
);

test("a crash of the worker ends no task, and systemd starts it again", async () => {
  const before = await pids(machine, "web");
  const started = "systemctl show -p MainPID --value warren-worker";
  const pid = await machine.ok(started);
  await machine.ok("systemctl kill -s KILL --kill-whom=main warren-worker");
  await until(
    "it runs again",
    async () => {
      const now = (await machine.ok(started)).trim();
      return now !== "0" && now !== pid.trim();
    },
    patienceMs,
  );
  await ready(machine);
  expect(await pids(machine, "web")).toEqual(before);
});

test("a second cluster has processes of its own, and its end leaves the machine's units and tasks alone", async () => {
  const before = await pids(machine, "web");
  const places = "--data-dir /var/lib/second --run-dir /run/second";
  const off = '--manager-flags "--metrics-addr off"';
  expect((await machine.sh(`warren cluster init --manager-only ${places} ${off}`)).stderr).toContain(
    "a process of its own",
  );
  await machine.ok(`warren cluster leave --force ${places}`);
  expect(await machine.ok("systemctl is-active warren-manager warren-worker")).toBe("active\nactive\n");
  expect((await machine.sh("ls -d /var/lib/second /run/second")).stdout).toBe("");
  expect(await pids(machine, "web")).toEqual(before);
});
