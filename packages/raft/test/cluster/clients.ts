/** Clients that act on registers through any member, and what they saw, for the checker of linearizability. */
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { systemRandom } from "@warren/std";
import { until } from "@warren/std/testing";
import { expect } from "vitest";

import { checkLinearizable, writeHistory, type Action, type Operation } from "../../src/testing/index.ts";
import type { MemberProcess, Processes } from "./processes.ts";

const keys = ["a", "b", "c", "d", "e", "f"];

/** Failures of which nothing is left in the log; of all others nobody knows. */
const withoutEffect = new Set(["RAFT_PROPOSAL_DROPPED", "RAFT_NOT_LEADER"]);

export class Clients {
  readonly history: Operation[] = [];
  /** Operations that succeeded, so far. */
  succeeded = 0;
  private readonly processes: Processes;
  private readonly stopping = new AbortController();
  private readonly work: Promise<unknown>;
  private moment = 0;

  constructor(processes: Processes, count: number = 4) {
    this.processes = processes;
    this.work = Promise.all(Array.from({ length: count }, (_, client) => this.run(client)));
  }

  /** Resolves once `count` more operations succeeded. */
  async progress(count: number = 30, timeoutMs: number = 20_000): Promise<void> {
    const before = this.succeeded;
    await until(`${count} more operations succeed`, () => this.succeeded >= before + count, timeoutMs);
  }

  /** Stops the clients and judges what they saw. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.work;
    const verdict = checkLinearizable(this.history);
    if (verdict.linearizable === true) return;
    const file = join(tmpdir(), `raft-history-${process.pid}.jsonl`);
    await writeFile(file, writeHistory(this.history));
    expect(verdict, `the history is in ${file}`).toEqual({ linearizable: true });
  }

  private async run(client: number): Promise<void> {
    for (let n = 0; !this.stopping.signal.aborted; n++) {
      const alive = this.processes.alive();
      const member = alive[systemRandom.int(Math.max(1, alive.length))];
      if (member === undefined) throw new Error("no member is alive");
      const key = keys[systemRandom.int(keys.length)]!;
      // One whose outcome is unknown may still happen: what follows is by another client, as the checker sees it.
      if (!(await this.operate(client, member, key, n))) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private async operate(client: number, member: MemberProcess, key: string, n: number): Promise<boolean> {
    const action = this.action(client, key, n);
    const operation: Operation = {
      operation: this.history.length,
      client,
      key,
      kind: action?.kind ?? "read",
      ...(action === undefined ? {} : { value: action.value }),
      ...(action?.kind === "cas" ? { expect: action.expect } : {}),
      call: this.moment++,
      callMs: performance.now(),
      outcome: "unknown",
    };
    this.history.push(operation);
    try {
      const request =
        action === undefined
          ? ({ do: "read", key } as const)
          : ({ do: "act", operation: operation.operation, action } as const);
      const { output } = (await member.ask(request)) as { output: string };
      Object.assign(operation, { outcome: "ok", output, return: this.moment++, returnMs: performance.now() });
      this.succeeded++;
      return true;
    } catch (error) {
      const { message } = error as Error;
      // Any other failure is one of the test.
      if (!/^(RAFT_|exited)/u.test(message)) throw error;
      if (withoutEffect.has(message) || action === undefined) {
        Object.assign(operation, { outcome: "fail", return: this.moment++, returnMs: performance.now() });
      }
      return false;
    }
  }

  private action(client: number, key: string, n: number): Action | undefined {
    const value = `${client}.${n}`;
    switch (systemRandom.int(4)) {
      case 0:
        return undefined;
      case 1:
        return { kind: "put", key, value };
      case 2: {
        const seen = this.history.findLast((other) => other.key === key && other.outcome === "ok");
        return { kind: "cas", key, expect: seen?.kind === "put" ? seen.value! : (seen?.output ?? ""), value };
      }
      default:
        return { kind: "put", key, value };
    }
  }
}
