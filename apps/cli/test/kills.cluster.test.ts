/** kill -9 of worker, manager and containerd at random while services come and go: nothing is lost, nothing is left. */
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { openNetlink } from "@warren/netlink-napi";
import { seededRandom, testSeed, until } from "@warren/std/testing";
import { Machine } from "./machine.ts";

const kills = Number(process.env["WARREN_KILLS"] ?? 50);
const seed = testSeed();

test(
  `after ${kills} kills the state is what was asked for, nothing was restarted, nothing is orphaned`,
  { timeout: 600_000 },
  async () => {
    process.stderr.write(`WARREN_SEED=${seed}\n`);
    const random = seededRandom(seed);
    await using machine = await Machine.start();
    const image = await machine.push("kills/base:1", { config: { Cmd: ["sleep", "1000000"] } });
    const create = ["--image", image, "--stop-signal", "KILL", "--restart-delay", "100ms"];
    await machine.ok("service", "create", "steady", ...create, "--replicas", "3");
    const pids = (await machine.running("steady")).map(({ status }) => status?.container?.pid);

    /** Service → replicas, as acknowledged. */
    const wanted = new Map([["steady", 3]]);
    let services = 0;
    const pick = (): string | undefined =>
      [...wanted.keys()].filter((name) => name !== "steady")[random.int(Math.max(1, wanted.size - 1))];

    /** One change, repeated until it is acknowledged: what is not may have happened or not. */
    const change = async (): Promise<void> => {
      const what = random.int(3);
      const name = pick();
      if (what === 0 || name === undefined) {
        const replicas = random.int(4);
        const made = `s${services++}`;
        await acknowledged(
          ["service", "create", made, ...create, "--replicas", String(replicas), "--detach"],
          /there is a service .* already/,
        );
        wanted.set(made, replicas);
      } else if (what === 1) {
        const replicas = random.int(4);
        await acknowledged(["service", "scale", `${name}=${replicas}`, "--detach"]);
        wanted.set(name, replicas);
      } else {
        await acknowledged(["service", "delete", name, "--detach"], /no service/);
        wanted.delete(name);
      }
    };
    const acknowledged = (args: readonly string[], done?: RegExp): Promise<unknown> =>
      until(
        `${args.join(" ")} is acknowledged`,
        async () => {
          const { code, stderr } = await machine.warren(...args);
          if (code === 0 || done?.test(stderr) === true) return true;
          expect(stderr).toMatch(/manager|not known|lost|ended|in time|leads|not taken/);
          return false;
        },
        60_000,
      );

    const kill = async (): Promise<void> => {
      const victim = (["worker", "manager", "containerd"] as const)[random.int(3)] ?? "worker";
      if (victim === "containerd") {
        await machine.bed.containerd.kill();
        await machine.bed.containerd.restart();
      } else {
        await machine.killDaemon(victim);
        await machine.startDaemon(victim);
      }
    };

    for (let n = 0; n < kills; n++) {
      const changing = change();
      // Somewhere within the change and what follows from it.
      await new Promise((resolve) => setTimeout(resolve, random.int(300)));
      await kill();
      await changing;
    }

    await until(
      "every service is as asked for",
      async () => {
        const { services: found } = await machine.client.services
          .list({ page: { size: 1_000, token: "" } })
          .catch(() => ({ services: [] }));
        const names = new Map(found.map(({ spec, summary }) => [spec?.name ?? "", summary]));
        return (
          names.size === wanted.size && [...wanted].every(([name, replicas]) => names.get(name)?.running === replicas)
        );
      },
      120_000,
    );
    expect((await machine.running("steady")).map(({ status }) => status?.container?.pid)).toEqual(pids);

    const tasks = (await Promise.all([...wanted.keys()].map((name) => machine.running(name)))).flat();
    await using runtime = await machine.bed.open();
    const netlink = openNetlink();
    const { address } = machine.bed.containerd;
    const there = async (): Promise<object> => ({
      containers: (await runtime.list())
        .filter(({ state }) => state.kind === "running")
        .map(({ id }) => id)
        .toSorted(),
      interfaces: (await netlink.links()).filter(({ name }) => /^wr[0-9a-z]{13}$/.test(name)).length,
      shims: (await commandLines()).filter(
        (line) => line.includes("containerd-shim") && line.includes(` -address ${address} `),
      ).length,
    });
    const expected = {
      containers: tasks.map(({ status }) => status?.container?.containerId ?? "").toSorted(),
      // And one that the node looks along at what firewalls let through.
      interfaces: tasks.length + 1,
      shims: tasks.length,
    };
    // The rest of what was ended goes after its end was told.
    await until(
      "nothing is left of what was ended",
      async () => JSON.stringify(await there()) === JSON.stringify(expected),
      60_000,
    ).catch(async () => expect(await there()).toEqual(expected));
    const addresses = tasks.map(({ status }) => status?.container?.address);
    expect(new Set(addresses).size).toBe(addresses.length);
  },
);

/** Of all processes; one that ends meanwhile has none. */
async function commandLines(): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const read = (pid: string): Promise<string> => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return (await Promise.all(pids.map(read))).map((text) => text.replaceAll("\0", " "));
}
