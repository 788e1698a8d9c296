import { rm } from "node:fs/promises";

import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { Processes, type MemberProcess } from "./processes.ts";

function leader(processes: Processes, besides?: number): Promise<MemberProcess> {
  const leads = ({ id, leadership }: MemberProcess): boolean => id !== besides && leadership?.isLeader === true;
  return until("someone leads", () => [...processes.running.values()].find(leads));
}

/** Writes one key after another until told to stop; what was acknowledged. */
function writer(processes: Processes): {
  stop(): Promise<Map<string, string>>;
  readonly acknowledged: Map<string, string>;
} {
  const acknowledged = new Map<string, string>();
  const stopping = new AbortController();
  const work = (async () => {
    for (let n = 0; !stopping.signal.aborted; n++) {
      const alive = [...processes.running.values()].filter(
        ({ child }) => child.exitCode === null && child.signalCode === null,
      );
      const member = alive[n % alive.length]!;
      try {
        await member.ask({ do: "put", key: `k${n}`, value: `v${n}` });
        acknowledged.set(`k${n}`, `v${n}`);
      } catch (error) {
        // Not acknowledged: nothing is promised. Any other failure is one of the test.
        if (!/^(RAFT_|exited)/u.test((error as Error).message)) throw error;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  })();
  return {
    acknowledged,
    async stop() {
      stopping.abort();
      await work;
      return acknowledged;
    },
  };
}

async function expectAll(processes: Processes, acknowledged: Map<string, string>): Promise<void> {
  for (const member of processes.running.values()) {
    for (const [key, value] of acknowledged)
      expect(await member.ask({ do: "get", key }), `${key} on ${member.id}`).toBe(value);
  }
}

describe("real processes over gRPC with TLS", () => {
  test("leaders killed with kill -9 amid writes lose nothing acknowledged, and another leads within two seconds", async () => {
    await using processes = await Processes.make(3);
    await leader(processes);
    const writes = writer(processes);
    for (let round = 0; round < 4; round++) {
      const before = writes.acknowledged.size;
      await until("writes flow", () => writes.acknowledged.size > before + 20);
      const victim = await leader(processes);
      const killedMs = performance.now();
      await victim.kill();
      processes.running.delete(victim.id);
      await leader(processes, victim.id);
      expect(performance.now() - killedMs).toBeLessThan(2_000);
      await processes.start(victim.id, { voters: 3 });
    }
    await expectAll(processes, await writes.stop());
  });

  test("a leader stopped with SIGSTOP is replaced, and follows when it wakes", async () => {
    await using processes = await Processes.make(3);
    const old = await leader(processes);
    await old.ask({ do: "put", key: "a", value: "1" });
    old.child.kill("SIGSTOP");
    const next = await leader(processes, old.id);
    await next.ask({ do: "put", key: "a", value: "2" });
    old.child.kill("SIGCONT");
    expect(await old.ask({ do: "get", key: "a" })).toBe("2");
  });

  test("a wiped member is refused under its old id, and welcome under a new one", async () => {
    await using processes = await Processes.make(3);
    const first = await leader(processes);
    await first.ask({ do: "put", key: "a", value: "1" });
    const victim = [...processes.running.values()].find(({ id }) => id !== first.id)!;
    await until("it holds the log", async () => (await victim.ask({ do: "get", key: "a" })) === "1");
    await victim.kill();
    await rm(processes.path(victim.id), { recursive: true });
    const wiped = await processes.start(victim.id, { voters: 3 });
    await expect(wiped.ask({ do: "get", key: "a" })).rejects.toThrow(/RAFT_(READ_TIMEOUT|CLOSED)|exited/u);
    await wiped.kill();
    processes.running.delete(victim.id);
    await (await leader(processes)).ask({ do: "addLearner", member: processes.members[3] });
    const fresh = await processes.start(4, { voters: 3, bootstrap: false });
    const now = await leader(processes);
    await until("it is promoted", () =>
      now.ask({ do: "promote", member: { id: 4 } }).then(
        () => true,
        () => false,
      ),
    );
    expect(await fresh.ask({ do: "get", key: "a" })).toBe("1");
  });

  test("a leader whose fsync fails stops, and the others go on without loss", async () => {
    await using processes = await Processes.make(3);
    const writes = writer(processes);
    await until("writes flow", () => writes.acknowledged.size > 10);
    const victim = [...processes.running.values()][0]!;
    await victim.kill();
    const wrap = [
      "strace",
      "-f",
      "-qq",
      "-o",
      "/dev/null",
      "-e",
      "trace=fdatasync",
      "-e",
      "inject=fdatasync:error=EIO:when=20+",
    ];
    const faulty = await processes.start(victim.id, { voters: 3, wrap });
    await until("it stopped", () => faulty.ended === "RAFT_STORAGE_FAILED", 30_000);
    processes.running.delete(victim.id);
    const before = writes.acknowledged.size;
    await until("the others go on", () => writes.acknowledged.size > before + 10);
    await expectAll(processes, await writes.stop());
  });

  test("five members lose two and go on", async () => {
    await using processes = await Processes.make(5);
    const writes = writer(processes);
    await until("writes flow", () => writes.acknowledged.size > 10, 20_000);
    for (let i = 0; i < 2; i++) {
      const victim = await leader(processes);
      await victim.kill();
      processes.running.delete(victim.id);
    }
    const before = writes.acknowledged.size;
    await until("the three left go on", () => writes.acknowledged.size > before + 10, 20_000);
    await expectAll(processes, await writes.stop());
  });
});
