import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { runReadmeExample, until } from "@warren/std/testing";
import { expect, test } from "vitest";

import { makeAuthority, makeCertificate } from "../src/testing/index.ts";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toBe('member 3 has "warm"\n');
});

/** The README's program for one of three machines, all of which are this one. */
async function members(folder: string): Promise<{ readonly source: string; readonly args: readonly string[] }> {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const source = /^```ts member\.ts\n([\s\S]*?)^```/mu.exec(readme)?.[1];
  if (source === undefined) throw new Error("the README has no member.ts");
  await makeAuthority(folder);
  const args: string[] = [];
  for (const id of [1, 2, 3]) {
    await makeCertificate(folder, `member-${id}`);
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    args.push(`${id}=127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.close();
  }
  return { source, args };
}

test(
  "the README's program for three machines elects, answers, follows a leader that is killed, and ends in order",
  { timeout: 120_000 },
  async () => {
    // In the package, so that it finds it by its name.
    const folder = await mkdtemp(fileURLToPath(new URL("../.readme-", import.meta.url)));
    const { source, args } = await members(folder);
    await writeFile(join(folder, "member.ts"), source);
    const run = (id: number): { readonly child: ChildProcess; said: string } => {
      const own = join(folder, String(id));
      mkdirSync(own, { recursive: true });
      for (const name of ["ca.pem", `member-${id}.pem`, `member-${id}.key`])
        copyFileSync(join(folder, name), join(own, name));
      const flags = ["--conditions=warren-source", join(folder, "member.ts")];
      const child = spawn(process.execPath, [...flags, String(id), own, ...args]);
      const made = { child: child as ChildProcess, said: "" };
      child.stdout.setEncoding("utf8").on("data", (text: string) => (made.said += text));
      child.stderr.setEncoding("utf8").on("data", (text: string) => (made.said += text));
      return made;
    };
    const running = new Map([1, 2, 3].map((id) => [id, run(id)]));
    const leader = (than?: number): Promise<number> =>
      until(
        "one leads",
        () => {
          const led = [...running.values()].map(({ said }) =>
            Number(/leader (\d)\n(?![\s\S]*leader)/u.exec(said)?.[1]),
          );
          return led.length > 0 && led.every((id) => id === led[0] && id !== than) && led[0];
        },
        60_000,
      );
    const ask = async (id: number, line: string, answer: RegExp): Promise<void> => {
      const member = running.get(id)!;
      const before = member.said.length;
      member.child.stdin!.write(`${line}\n`);
      await until(`${id} answers`, () => answer.test(member.said.slice(before)), 30_000);
    };
    try {
      const first = await leader();
      await ask(first, "hello", /line 1 at \d+\n/u);
      const follower = [1, 2, 3].find((id) => id !== first)!;
      await ask(
        follower,
        "hello",
        new RegExp(`RAFT_NOT_LEADER ${args[first - 1]!.split("=")[1]!.replaceAll(".", "\\.")}\n`, "u"),
      );
      const killed = running.get(first)!;
      running.delete(first);
      killed.child.kill("SIGKILL");
      const next = await leader(first);
      await ask(next, "again", /line 2 at \d+\n/u);
      const rest = [...running.values()];
      for (const { child } of rest) child.kill("SIGTERM");
      const codes = await Promise.all(
        rest.map(async ({ child }) => {
          if (child.exitCode === null) await once(child, "exit");
          return child.exitCode;
        }),
      );
      expect(codes).toEqual([0, 0]);
    } finally {
      for (const { child } of running.values()) child.kill("SIGKILL");
      await rm(folder, { recursive: true });
    }
  },
);
