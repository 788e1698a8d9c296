import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { shellWord } from "../../shell-word.ts";
import { Monitor, qemuArguments } from "../qemu.ts";

test.each(["plain", "a b", "it's", "", '"$HOME" `id` \\', "*", "a\nb", "-n"])("a shell reads %j as it is", (word) => {
  const { stdout } = spawnSync("sh", ["-c", `printf %s ${shellWord(word)}`], { encoding: "utf8" });
  expect(stdout).toBe(word);
});

test("the machine reaches nothing of the host's network, and is reached on loopback alone", () => {
  const args = qemuArguments({
    kernel: "/k",
    initrd: "/i",
    disk: "/a,b/disk",
    warrenDisk: "/w",
    memory: 512,
    processors: 1,
    ports: new Map([
      [40_022, 22],
      [40_080, 80],
    ]),
    console: "/c",
    monitor: "/m",
    pidFile: "/p",
  });
  const net = args[args.indexOf("-netdev") + 1] ?? "";
  expect(net.split(",")).toContain("restrict=on");
  const forwards = net.split(",").filter((part) => part.startsWith("hostfwd="));
  expect(forwards).toEqual(["hostfwd=tcp:127.0.0.1:40022-:22", "hostfwd=tcp:127.0.0.1:40080-:80"]);
  // QEMU separates options by commas, and reads two as one.
  expect(args).toContain("file=/a,,b/disk,format=qcow2,if=virtio,cache=unsafe");
});

let folder: string;
let server: Server;
/** What the server sends for each line that it reads, after its greeting. */
let replies: (command: { execute: string; arguments: Record<string, string> }) => readonly string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "warren-monitor-"));
  server = createServer((socket) => {
    socket.write('{"QMP": {"version": {}}}\n');
    socket.on("data", (data: Buffer) => {
      for (const line of data.toString().trim().split("\n"))
        for (const reply of replies(JSON.parse(line) as Parameters<typeof replies>[0])) socket.write(reply);
    });
  }).listen(join(folder, "monitor"));
  await once(server, "listening");
});
afterEach(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

test("the monitor reads an answer that comes in pieces and behind events", async () => {
  replies = ({ execute }) =>
    execute === "qmp_capabilities"
      ? ['{"return": {}}\n']
      : ['{"event": "STOP"}\n{"ret', 'urn": {"running": true}}', '\n{"event": "RESUME"}\n'];
  await using monitor = await Monitor.open(join(folder, "monitor"));
  expect(await monitor.command("query-status")).toEqual({ running: true });
  expect(await monitor.command("query-status")).toEqual({ running: true });
});

test("what QEMU refuses is thrown, by code or by text", async () => {
  replies = ({ execute, arguments: args }) => {
    if (execute === "qmp_capabilities") return ['{"return": {}}\n'];
    if (execute !== "human-monitor-command") return ['{"error": {"class": "GenericError", "desc": "no such"}}\n'];
    return [`${JSON.stringify({ return: args["command-line"] === "savevm a" ? "" : "Error: no snapshot b\r\n" })}\n`];
  };
  await using monitor = await Monitor.open(join(folder, "monitor"));
  await expect(monitor.command("nonsense")).rejects.toThrow("QEMU: nonsense: no such");
  await monitor.line("savevm a");
  await expect(monitor.line("loadvm b")).rejects.toThrow("QEMU: loadvm b: Error: no snapshot b");
});

test("a monitor that goes away ends the wait for its answer", async () => {
  const connected = once(server, "connection") as Promise<[Socket]>;
  replies = ({ execute }) => (execute === "qmp_capabilities" ? ['{"return": {}}\n'] : []);
  await using monitor = await Monitor.open(join(folder, "monitor"));
  const failed = expect(monitor.command("quit")).rejects.toThrow("QEMU has ended");
  (await connected)[0].end();
  await failed;
});
