/** kill -9 of worker, manager and containerd at random while services come and go: nothing is lost, nothing is left. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { openNetlink } from "@warren/netlink-napi";
import { seededRandom, until } from "@warren/std/testing";
import { Machine } from "./machine.ts";

const run = promisify(execFile);
const kills = 50;
const seed = Number(process.env["WARREN_SEED"] ?? Date.now() % 1_000_000);

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
          /already exists|is taken/,
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
          expect(stderr).toMatch(/no manager answers|not known|lost|ended|in time|leads|not taken/);
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
    const expected = tasks.map(({ status }) => status?.container?.containerId ?? "").toSorted();
    await using runtime = await machine.bed.open();
    const netlink = openNetlink();
    await until(
      "containers, shims and interfaces are those of the tasks",
      async () => {
        const containers = (await runtime.list()).filter(({ state }) => state.kind === "running").map(({ id }) => id);
        const links = (await netlink.links()).filter(({ name }) => /^wr[0-9a-z]{13}$/.test(name));
        const shims = await run("pgrep", [
          "-fc",
          `containerd-shim.* -namespace ${machine.bed.options.namespace ?? ""} `,
        ]).catch(() => ({ stdout: "0" }));
        return (
          JSON.stringify(containers.toSorted()) === JSON.stringify(expected) &&
          links.length === expected.length &&
          Number(shims.stdout) === expected.length
        );
      },
      60_000,
    );
    const addresses = tasks.map(({ status }) => status?.container?.address);
    expect(new Set(addresses).size).toBe(addresses.length);
  },
);
