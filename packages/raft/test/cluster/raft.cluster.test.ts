/** Members as real processes over gRPC with TLS, and what can happen to them while clients write. */
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { makeCertificate } from "../../src/testing/index.ts";
import { Clients } from "./clients.ts";
import { Processes, type MemberProcess } from "./processes.ts";

const run = promisify(execFile);
/** Everything at its default, but for a client that would wait long for an answer that was lost. */
const options = { proposalTimeoutMs: 1_500, readTimeoutMs: 1_500 };

/** How a log becomes durable: by a write to the journal, by a sync of LevelDB. */
const syncs = "fdatasync,pwrite64";

/** Lets each sync of a running member fail or stall, until it is disposed of. */
async function inject(member: MemberProcess, what: string): Promise<AsyncDisposable> {
  const pid = String(member.child.pid);
  const args = ["-f", "-p", pid, "-o", "/dev/null", "-e", `trace=${syncs}`, "-e", `inject=${syncs}:${what}`];
  const tracer = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"] });
  // It says so for every thread; with the first it is at work.
  await new Promise<void>((resolve, reject) => {
    tracer.stderr.once("data", () => resolve());
    tracer.once("exit", (code) => reject(new Error(`strace ended with ${code}`)));
  });
  return {
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => tracer.once("exit", resolve));
      if (tracer.exitCode !== null || tracer.signalCode !== null) return;
      tracer.kill("SIGINT");
      await ended;
    },
  };
}

describe.for([3, 5])("%i members", (count) => {
  test("leaders are killed, and clients see one history; another leads within two seconds", async () => {
    await using processes = await Processes.make(count, { options });
    await processes.leader();
    const clients = new Clients(processes);
    for (let round = 0; round < 4; round++) {
      await clients.progress();
      const victim = await processes.leader();
      const killedMs = performance.now();
      await victim.kill();
      await processes.leader(victim.id);
      expect(performance.now() - killedMs).toBeLessThan(2_000);
      await clients.progress();
      await processes.start(victim.id);
    }
    await clients.stop();
  });

  test("a leader that is stopped with SIGSTOP is replaced, and follows when it wakes", async () => {
    await using processes = await Processes.make(count, { options: { ...options, reads: "lease" } });
    const clients = new Clients(processes);
    await clients.progress();
    for (let round = 0; round < 3; round++) {
      const old = await processes.leader();
      old.child.kill("SIGSTOP");
      const next = await processes.leader(old.id);
      await next.ask({ do: "act", operation: 0, action: { kind: "put", key: "stopped", value: String(round) } });
      old.child.kill("SIGCONT");
      expect(await old.ask({ do: "read", key: "stopped" })).toEqual({ output: String(round) });
      await clients.progress();
    }
    await clients.stop();
  });

  test("most are killed at once: nothing is taken until they are back, and nothing is lost", async () => {
    await using processes = await Processes.make(count, { options });
    const clients = new Clients(processes);
    await clients.progress();
    const victims = processes.alive().slice(0, Math.ceil(count / 2));
    await Promise.all(victims.map((victim) => victim.kill()));
    const [survivor] = processes.alive();
    const refused = survivor!.ask({ do: "act", operation: 0, action: { kind: "put", key: "x", value: "x" } });
    await expect(refused).rejects.toThrow(/^RAFT_(PROPOSAL_DROPPED|OUTCOME_UNKNOWN)$/u);
    await Promise.all(victims.map(({ id }) => processes.start(id)));
    await clients.progress();
    await clients.stop();
  });
});

describe("members come and go", () => {
  test("each of three is replaced by a new one, while clients write", async () => {
    await using processes = await Processes.make(3, { options: { ...options, promoteLagEntries: 100 } });
    const clients = new Clients(processes);
    await clients.progress();
    for (const [gone, added] of [
      [1, 4],
      [2, 5],
    ] as const) {
      await awayFrom(processes, gone);
      await askLeader(processes, { do: "addLearner", member: processes.members[added - 1]! });
      await processes.start(added, { joins: true });
      await askLeader(processes, { do: "promote", id: added });
      await askLeader(processes, { do: "remove", id: gone });
      await processes.running.get(gone)!.kill();
      await clients.progress();
    }
    await clients.stop();
  });

  test("a wiped member is refused under its old id, and welcome under a new one", async () => {
    await using processes = await Processes.make(3, { options });
    const leader = await processes.leader();
    const clients = new Clients(processes);
    await clients.progress();
    const victim = processes.alive().find(({ id }) => id !== leader.id)!;
    await victim.kill();
    await rm(processes.path(victim.id), { recursive: true });
    const wiped = await processes.start(victim.id);
    await expect(wiped.ask({ do: "read", key: "a" })).rejects.toThrow(/^(RAFT_(READ_TIMEOUT|CLOSED)|exited)$/u);
    await wiped.kill();
    await askLeader(processes, { do: "addLearner", member: processes.members[3]! });
    await processes.start(4, { joins: true });
    await askLeader(processes, { do: "promote", id: 4 });
    await askLeader(processes, { do: "remove", id: victim.id });
    await clients.progress();
    await clients.stop();
  });

  test("a certificate of the same authority makes nobody a member: it must name the id", async () => {
    await using processes = await Processes.make(3, { options });
    const leader = await processes.leader();
    const victim = processes.alive().find(({ id }) => id !== leader.id)!;
    await victim.kill();
    await makeCertificate(processes.certificates, "member-9");
    const stranger = await processes.start(victim.id, { name: "member-9" });
    await expect(stranger.ask({ do: "read", key: "a" })).rejects.toThrow("RAFT_READ_TIMEOUT");
    expect(stranger.leadership?.leader).toBeUndefined();
    await stranger.kill();
    const back = await processes.start(victim.id);
    expect(await back.ask({ do: "read", key: "a" })).toEqual({ output: "" });
  });
});

describe("disks", () => {
  test("a leader whose disk stalls gives way", async () => {
    await using processes = await Processes.make(3, { options });
    const clients = new Clients(processes);
    await clients.progress();
    const victim = await processes.leader();
    {
      await using _ = await inject(victim, "delay_enter=4000000");
      await processes.leader(victim.id);
      await clients.progress();
    }
    await clients.progress();
    await clients.stop();
  });

  test("a member whose sync fails stops and says why; started on a mended disk it is back", async () => {
    await using processes = await Processes.make(3, { options });
    const clients = new Clients(processes);
    await clients.progress();
    const victim = await processes.leader();
    {
      await using _ = await inject(victim, "error=EIO");
      await until("it stops", () => victim.ended);
    }
    expect(victim.ended).toBe("RAFT_STORAGE_FAILED");
    await clients.progress();
    const back = await processes.start(victim.id);
    await until("it reads", () => accepted(back.ask({ do: "read", key: "nothing" })), 30_000);
    await clients.stop();
  });

  test("a member whose disk is full stops; with room again it is back with all that it had", async () => {
    const small = await mkdtemp(join(tmpdir(), "raft-small-disk-"));
    await run("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", small]);
    try {
      await using processes = await Processes.make(3, {
        options,
        data: (id) => (id === 1 ? join(small, "member") : undefined),
      });
      const clients = new Clients(processes);
      await clients.progress();
      const victim = processes.running.get(1)!;
      const value = "x".repeat(64 * 1024);
      for (let n = 0; victim.alive && n < 200; n++) {
        const member = await processes.leader();
        await accepted(member.ask({ do: "act", operation: n, action: { kind: "put", key: "large", value } }));
      }
      await until("it stops", () => victim.ended);
      expect(victim.ended).toBe("RAFT_STORAGE_FAILED");
      await clients.progress();
      await run("mount", ["-o", "remount,size=256m", small]);
      const back = await processes.start(1);
      expect(await back.ask({ do: "read", key: "large" })).toEqual({ output: value });
      await clients.stop();
    } finally {
      await run("umount", [small]);
      await rm(small, { recursive: true });
    }
  });
});

/** Asks whoever leads until it is taken: who leads may change at any time. */
function askLeader(processes: Processes, request: Parameters<MemberProcess["ask"]>[0]): Promise<true> {
  return until(`${request.do} is taken`, async () => accepted((await processes.leader()).ask(request)), 30_000);
}

async function accepted(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (/^(RAFT_|exited)/u.test((error as Error).message)) return false;
    throw error;
  }
}

/** A leader that is not `id`: it hands over if it is. */
async function awayFrom(processes: Processes, id: number): Promise<MemberProcess> {
  return until("another leads", async () => {
    const leader = await processes.leader();
    if (leader.id !== id) return leader;
    await accepted(leader.ask({ do: "transfer" }));
    return undefined;
  });
}
