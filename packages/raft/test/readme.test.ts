import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePorts, runReadmeExample, until } from "@warren/std/testing";
import { expect, test } from "vitest";

import { MemoryNetwork, openFileDisk, type RaftNode } from "../src/index.ts";
import { makeAuthority, makeCertificate } from "../src/testing/index.ts";
import { leaderOf, members, startGroup, startMember } from "./node/group.ts";
import { put } from "./node/key-value-machine.ts";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toBe('member 3 has "warm"\n');
});

/** A program that the README prints under a name, in a folder of the package, so that it finds the package by its name. */
async function writeProgram(folder: string, name: string): Promise<string> {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const [, ...blocks] = readme.split(`\`\`\`ts ${name}\n`);
  const source = blocks[0]?.split("\n```")[0];
  if (source === undefined) throw new Error(`the README has no ${name}`);
  const path = join(folder, name);
  await writeFile(path, source);
  return path;
}

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(fileURLToPath(new URL("../.readme-", import.meta.url)));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface Program {
  readonly child: ChildProcess;
  said: string;
}

function start(program: string, ...args: string[]): Program {
  const child = spawn(process.execPath, ["--conditions=warren-source", program, ...args]);
  const made = { child: child as ChildProcess, said: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (made.said += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (made.said += text));
  return made;
}

async function ended({ child }: Program): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}

test(
  "the README's member and client on three machines: no line is lost or there twice though the leader is killed, it comes back, all end in order",
  { timeout: 180_000 },
  () =>
    inFolder(async (folder) => {
      const [memberProgram, clientProgram] = [
        await writeProgram(folder, "member.ts"),
        await writeProgram(folder, "client.ts"),
      ];
      await makeAuthority(folder);
      const list: string[] = [];
      const [ports, clientPorts] = [await freePorts(3), await freePorts(3)];
      for (const id of [1, 2, 3]) {
        await makeCertificate(folder, `member-${id}`);
        list.push(`${id}=127.0.0.1:${ports[id - 1]}:${clientPorts[id - 1]}`);
      }
      const startMember = (id: number): Program => {
        const own = join(folder, String(id));
        mkdirSync(own, { recursive: true });
        for (const name of ["ca.pem", `member-${id}.pem`, `member-${id}.key`])
          copyFileSync(join(folder, name), join(own, name));
        return start(memberProgram, String(id), own, ...list);
      };
      const members = new Map([1, 2, 3].map((id) => [id, startMember(id)]));
      const leader = (): Promise<number> =>
        until(
          "one leads",
          () => {
            const led = [...members.values()].map(({ said }) =>
              Number(/leader (\d)\n(?![\s\S]*leader)/u.exec(said)?.[1]),
            );
            return led.every((id) => id === led[0] && members.has(id)) && led[0];
          },
          60_000,
        );
      const client = start(clientProgram, ...clientPorts.map((port) => `127.0.0.1:${port}`));
      const others: Program[] = [client];
      try {
        await leader();
        client.child.stdin!.write("one\n");
        await until("it is answered", () => client.said === "line 1\n", 30_000);
        const killed = await leader();
        others.push(members.get(killed)!);
        members.get(killed)!.child.kill("SIGKILL");
        members.delete(killed);
        client.child.stdin!.write("two\nthree\n");
        await until("they are answered", () => client.said === "line 1\nline 2\nline 3\n", 60_000);
        members.set(killed, startMember(killed));
        const linesOf = (id: number): Promise<string> =>
          fetch(`http://127.0.0.1:${clientPorts[id - 1]}/`).then(
            async (response) => (response.ok ? await response.text() : ""),
            () => "",
          );
        for (const id of [1, 2, 3]) {
          await until(`${id} has all`, async () => (await linesOf(id)) === "one\ntwo\nthree", 60_000);
        }
        client.child.stdin!.end();
        expect(await ended(client)).toBe(0);
        const all = [...members.values()];
        for (const { child } of all) child.kill("SIGTERM");
        expect(await Promise.all(all.map(ended))).toEqual([0, 0, 0]);
      } finally {
        for (const { child } of [...others, ...members.values()]) child.kill("SIGKILL");
      }
    }),
);

test("the README's backup and restore give another group the same state", { timeout: 60_000 }, () =>
  inFolder(async (folder) => {
    const { backup, restore } = (await import(await writeProgram(folder, "backup.ts"))) as {
      backup: (node: RaftNode, file: string) => Promise<void>;
      restore: (file: string, folder: string, address: string) => Promise<void>;
    };
    const { leader } = await startGroup({}, members.slice(0, 1));
    await leader.node.propose(put("a", "1"));
    await backup(leader.node, join(folder, "backup"));
    await restore(join(folder, "backup"), join(folder, "restored"), "member-1");
    const disk = await openFileDisk(join(folder, "restored"));
    const restored = await startMember(new MemoryNetwork(), 1, {}, { disk, clusterId: "restored" });
    await leaderOf([restored]);
    expect(restored.fsm.state.get("a")).toBe("1");
    await restored.node.close();
  }),
);
