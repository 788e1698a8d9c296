import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { until } from "@warren/std/testing";
import { startTestbed, Testbed, TestbedError, type Host } from "../src/index.ts";

let bed: Testbed;
let h1: Host;
let h2: Host;
let h3: Host;

beforeAll(async () => {
  bed = await startTestbed({ hosts: 3 });
  [h1, h2, h3] = [bed.host("h1"), bed.host("h2"), bed.host("h3")];
  for (const host of bed.hosts) await serve(host);
}, 60_000);
afterEach(() => bed.heal());
afterAll(() => bed?.[Symbol.asyncDispose]());

/** busybox's own time-out ends it by a signal on some machines. */
const get = ["timeout", "2", "busybox", "wget", "-qO-"];

/** A server that answers with the host's name. */
async function serve(host: Host): Promise<void> {
  await host.ok("busybox", "httpd", "-p", "80", "-h", "/etc");
}

/** What a host's server says to another, or undefined where nothing comes back. */
async function asked(from: Host, to: Host): Promise<string | undefined> {
  const { code, stdout } = await from.run([...get, `http://${to.address}/hostname`]);
  return code === 0 ? stdout.trim() : undefined;
}

/** A neighbour that could not be asked for a while is asked again after up to a second. */
async function reaches(from: Host, to: Host): Promise<void> {
  await until(`${from.name} reaches ${to.name}`, async () => (await asked(from, to)) === to.name, 20_000);
}

test("hosts have names, addresses, processes and folders of their own, and reach each other", async () => {
  expect(await h1.ok("hostname")).toBe("h1\n");
  await reaches(h1, h2);
  await reaches(h3, h1);
  await h1.ok("sh", "-c", "for folder in /run /etc /root /var/lib /var/lib/warren; do echo h1 >$folder/mark; done");
  expect(
    (await h2.run(["sh", "-c", "cat /run/mark /etc/mark /root/mark /var/lib/mark /var/lib/warren/mark"])).stdout,
  ).toBe("");
  expect(existsSync("/etc/mark") || existsSync("/var/lib/mark") || existsSync("/root/mark")).toBe(false);
  const names = (await h2.ok("ps", "-eo", "args=")).split("\n").filter((line) => line.startsWith("containerd "));
  expect(names).toHaveLength(1);
});

test("a program's cgroups are its host's", async () => {
  const script =
    "cat /proc/self/cgroup; echo; mkdir -p /sys/fs/cgroup/*/inner 2>/dev/null; cat /sys/fs/cgroup/*/cgroup.procs | grep -cx $$";
  const [cgroups = "", found = ""] = (await h1.ok("sh", "-c", script)).split("\n\n");
  expect(cgroups.split("\n").filter((line) => !line.startsWith("0::"))).toSatisfy((lines: string[]) =>
    lines.every((line) => line.endsWith(":/")),
  );
  expect(Number(found)).toBeGreaterThan(0);
});

test("cuts: between two, one way, and from all, until they are healed", async () => {
  await bed.cut("h1", "h2");
  expect(await asked(h1, h2)).toBeUndefined();
  await reaches(h1, h3);
  await bed.heal();
  await reaches(h1, h2);

  await bed.cut("h1", "h2", { oneWay: true });
  const listen = `const socket = require("dgram").createSocket("udp4").bind(9);
    socket.on("listening", () => console.log("listening"));
    socket.on("message", (text) => { console.log(String(text)); if (String(text) === "last") socket.close(); });`;
  /** Whether a datagram passes. */
  const heard = async (from: Host, to: Host): Promise<boolean> => {
    const listener = to.spawn([process.execPath, "-e", listen]);
    const ended = once(listener, "close");
    let said = "";
    listener.stdout?.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await until("it listens", () => said.includes("listening"));
    await from.ok("bash", "-c", `echo -n first >/dev/udp/${to.address}/9`);
    // From the host to itself, and after the first: where that has not come by now, it does not.
    await to.ok("bash", "-c", "echo -n last >/dev/udp/127.0.0.1/9");
    await ended;
    return said.includes("first");
  };
  // Neighbours are known: the answer to a question for one could not come back.
  const mac = async (host: Host): Promise<string> => (await host.ok("cat", "/sys/class/net/eth0/address")).trim();
  for (const [one, other] of [
    [h1, h2],
    [h2, h1],
  ] as const)
    await one.ok("ip", "neigh", "replace", other.address, "lladdr", await mac(other), "dev", "eth0");
  expect(await heard(h1, h2)).toBe(false);
  expect(await heard(h2, h1)).toBe(true);
  await bed.heal();
  expect(await heard(h1, h2)).toBe(true);

  await bed.isolate("h3");
  expect(await asked(h3, h1)).toBeUndefined();
  expect(await asked(h1, h3)).toBeUndefined();
  await reaches(h1, h2);
  await expect(h3.ok("bash", "-c", "timeout 1 bash -c '</dev/tcp/registry.testbed/5000'")).rejects.toThrow(
    TestbedError,
  );
}, 60_000);

test("a slow wire: later, fewer bits, frames lost, for one pair of hosts, and not longer than it is said", async () => {
  /** Milliseconds until a connection stands and has ended. */
  const took = async (from: Host, to: Host): Promise<number> => {
    const script = `const begun = performance.now();
      require("net").connect(80, "${to.address}").on("connect", function () { console.log(performance.now() - begun); this.destroy(); });`;
    return Number(await from.ok(process.execPath, "-e", script));
  };
  await h2.ok("sh", "-c", "head -c 100000 /dev/urandom >/etc/blob");
  await bed.slow("h1", "h2", { delayMs: 500 });
  expect(await took(h1, h2)).toBeGreaterThan(1_000);
  expect(await took(h2, h1)).toBeGreaterThan(1_000);
  expect(await took(h1, h3)).toBeLessThan(1_000);
  const download = async (): Promise<number> => {
    const started = performance.now();
    const { code, stdout } = await h1.run(["sh", "-c", `busybox wget -qO- http://${h2.address}/blob | wc -c`]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "100000\n" });
    return performance.now() - started;
  };
  // 100,000 bytes and their headers at 1 Mbit/s: at least 0.8 s.
  await bed.slow("h2", "h1", { rate: 1e6 });
  expect(await download()).toBeGreaterThan(800);
  expect(await took(h1, h2)).toBeLessThan(1_000);
  await bed.slow("h1", "h2", { loss: 1 });
  expect(await asked(h1, h2)).toBeUndefined();
  await reaches(h3, h2);
  // It is as slow after the power was cut.
  await bed.slow("h1", "h2", { delayMs: 500 });
  await h1.powerOff();
  await h1.powerOn();
  expect(await took(h1, h2)).toBeGreaterThan(1_000);
  await bed.cut("h1", "h3");
  await serve(h1);
  expect(await asked(h3, h1)).toBeUndefined();
  expect(await took(h2, h1)).toBeGreaterThan(1_000);
  await bed.heal();
  expect(await took(h1, h2)).toBeLessThan(1_000);
  await reaches(h3, h1);
  await expect(bed.slow("h1", "h2", { loss: 2 })).rejects.toThrow("a loss 0 to 1");
}, 60_000);

test("a host behind a router reaches others, and is not reached; its port is the same for all peers, or is not", async () => {
  const listen = `const socket = require("dgram").createSocket("udp4").bind(9);
    socket.on("listening", () => console.log("listening"));
    socket.on("message", (_, { address, port }) => { console.log("from " + address + " " + port); socket.close(); });`;
  const send = `const socket = require("dgram").createSocket("udp4").bind(5555);
    const peers = ["${h2.address}", "${h3.address}"];
    let left = peers.length;
    for (const peer of peers) socket.send("x", 9, peer, () => (left -= 1) === 0 && socket.close());`;
  /** Address and port that h2 and h3 see of one socket of h1. */
  const seen = async (): Promise<string[]> => {
    const listeners = [h2, h3].map((host) => host.spawn([process.execPath, "-e", listen]));
    const said = listeners.map(() => "");
    listeners.forEach(({ stdout }, n) => stdout?.on("data", (chunk: Buffer) => (said[n] += chunk.toString())));
    const ended = Promise.all(listeners.map((listener) => once(listener, "close")));
    await until("both listen", () => said.every((text) => text.includes("listening")));
    await h1.ok(process.execPath, "-e", send);
    await ended;
    return said.map((text) => /from (.*)/.exec(text)?.[1] ?? "");
  };
  await h1.putBehind("cone");
  await reaches(h1, h2);
  expect(await asked(h2, h1)).toBeUndefined();
  expect(await seen()).toEqual([`${h1.address} 5555`, `${h1.address} 5555`]);
  await h1.powerOff();
  await h1.powerOn();
  await reaches(h1, h2);
  await h1.putBehind("symmetric");
  await reaches(h1, h2);
  const [one = "", other = ""] = await seen();
  expect(one.split(" ")[0]).toBe(h1.address);
  expect(other.split(" ")[0]).toBe(h1.address);
  expect(one).not.toBe(other);
  await h1.putBehind(undefined);
  await serve(h1);
  await reaches(h2, h1);
}, 60_000);

test("a host's wall clock is set while its daemons run", async () => {
  await using own = await startTestbed({ hosts: 1, clocks: true });
  const host = own.host("h1");
  await host.ok("warren", "cluster", "init");
  await host.setClock(3 * 3_600_000);
  let made = 0;
  await until("the manager has the new time", async () => {
    const name = `clock${(made += 1)}`;
    await host.ok("warren", "service", "create", name, "--image", own.image, "--replicas", "0", "--detach");
    const [, at = ""] =
      /"createdAt": *"([^"]+)"/.exec(await host.ok("warren", "service", "inspect", name, "-o", "json")) ?? [];
    const ahead = Date.parse(at) - Date.now();
    return ahead > 2.9 * 3_600_000 && ahead < 3.1 * 3_600_000;
  });
  await expect(h1.setClock(1)).rejects.toThrow("up N --clocks");
}, 60_000);

test("power that is cut takes the processes and /run, and leaves the disk; each boot has an id", async () => {
  await h2.ok(
    "sh",
    "-c",
    "for folder in /run /etc /root /var/lib /var/lib/warren; do echo kept >$folder/disk; done; sync",
  );
  const id = await h2.ok("cat", "/proc/sys/kernel/random/boot_id");
  const sleeping = h2.run(["sleep", "1000"]);
  await h2.powerOff();
  expect((await sleeping).code).not.toBe(0);
  expect(h2.hasPower).toBe(false);
  expect(() => h2.spawn(["true"])).toThrow("power-on h2");
  expect(await asked(h1, h2)).toBeUndefined();
  await h2.powerOn();
  expect(await h2.ok("cat", "/etc/disk", "/root/disk", "/var/lib/disk", "/var/lib/warren/disk")).toBe(
    "kept\n".repeat(4),
  );
  expect((await h2.run(["cat", "/run/disk"])).code).toBe(1);
  expect(await h2.ok("cat", "/proc/sys/kernel/random/boot_id")).not.toBe(id);
  await serve(h2);
  await reaches(h1, h2);
  await h2.powerOff();
  await h2.wipe();
  await h2.powerOn();
  expect((await h2.run(["ls", "/etc/disk"])).code).not.toBe(0);
  await serve(h2);
});

test("a daemon is killed, started again, frozen and resumed", async () => {
  const version = ["ctr", "--connect-timeout", "1s", "--timeout", "1s", "version"];
  await h1.kill("containerd");
  expect((await h1.run(version)).code).not.toBe(0);
  await expect(h1.kill("containerd")).rejects.toThrow("no containerd runs in h1");
  await h1.start("containerd");
  await until("it answers", async () => (await h1.run(version)).code === 0);
  await h1.pause("containerd");
  expect((await h1.run(version)).code).not.toBe(0);
  await h1.resume("containerd");
  await until("it answers", async () => (await h1.run(version)).code === 0);
});

test("a host that moves is reached by its new address alone", async () => {
  const { address } = h3;
  await h3.move("198.18.0.99");
  await reaches(h1, h3);
  expect((await h1.run([...get, `http://${address}/hostname`])).code).not.toBe(0);
  await h3.move(address);
  await reaches(h1, h3);
  await expect(h3.move("10.0.0.1")).rejects.toThrow("is not an address of the switch");
});

test("a cluster of one host serves the others, and comes back after its power was cut", async () => {
  await h1.ok("warren", "cluster", "init");
  const image = await bed.push("served/name:1", {
    config: { Cmd: ["sh", "-c", "mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www"] },
  });
  await h1.ok("warren", "service", "create", "web", "--image", image, "-p", "8080:80", "--restart-condition", "none");
  const served = async (): Promise<string> => (await h2.run([...get, `http://${h1.address}:8080`])).stdout;
  expect(await served()).toBe("served\n");
  const node = await h1.ok("warren", "node", "list", "-o", "name");
  await h1.powerOff();
  expect(await served()).toBe("");
  await h1.powerOn();
  // Its container is one that ended with the machine, as the id of the boot shows: it runs again whatever the policy.
  await until("it serves again", async () => (await served()) === "served\n", 30_000);
  expect(await h1.ok("warren", "node", "list", "-o", "name")).toBe(node);
  await h1.ok("warren", "cluster", "leave", "--force");
}, 120_000);

test("five hosts are up within 15 s, and nothing of them is left", async () => {
  const started = performance.now();
  const { folder, hosts } = await startTestbed({ hosts: 5 });
  expect(performance.now() - started).toBeLessThan(15_000);
  expect(hosts.map(({ name }) => name)).toEqual(["h1", "h2", "h3", "h4", "h5"]);
  await expect(Testbed.start({ hosts: 1, folder })).rejects.toThrow("end it first");
  await (await Testbed.open(folder)).down();
  expect(existsSync(folder)).toBe(false);
  const lines = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const left = lines.filter((pid) => commandLine(pid).includes(folder));
  expect(left).toEqual([]);
  expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain(folder);
  const cgroups = readdirSync("/sys/fs/cgroup").flatMap((name) => namesIn(`/sys/fs/cgroup/${name}`));
  expect(cgroups.filter((name) => name.startsWith(basename(folder)))).toEqual([]);
  await expect(Testbed.open(folder)).rejects.toThrow("there is no test bed");
}, 60_000);

test("what can't be is refused by name", async () => {
  await expect(startTestbed({ hosts: 0 })).rejects.toThrow("1 to 200 hosts, not 0");
  expect(() => bed.host("h9")).toThrow('there is no host "h9": there are h1, h2, h3');
  await expect(h2.wipe()).rejects.toThrow("power-off h2");
  await expect(h1.start("manager")).rejects.toThrow("has no manager that was killed");
});

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
