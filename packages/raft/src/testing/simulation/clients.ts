/** Clients of a simulated cluster: they write, read, repeat what timed out in a session, and keep what they saw. */
import type { Random } from "@warren/std";

import { RaftError } from "../../errors.ts";
import type { Operation } from "./history.ts";
import { encodeAction, type Action } from "./machine.ts";
import type { Plan } from "./plan.ts";
import type { Machine } from "./machines.ts";
import type { Scheduler } from "./scheduler.ts";

/** What a client waits for an answer, ms: longer than a member does, so that only a dead one keeps it waiting. */
const patienceMs = 2_500;

interface Session {
  readonly id: number;
  number: number;
}

/** Whether an operation took effect. `late`: nobody knows. */
type Answer = { readonly outcome: "ok"; readonly output: string } | { readonly outcome: "fail" | "unknown" };

export class Clients {
  readonly history: Operation[] = [];
  private readonly scheduler: Scheduler;
  private readonly random: Random;
  private readonly plan: Plan;
  /** Members that run now. */
  private readonly running: () => readonly Machine[];
  private moments = 0;
  private stopped = false;

  constructor(scheduler: Scheduler, random: Random, plan: Plan, running: () => readonly Machine[]) {
    this.scheduler = scheduler;
    this.random = random;
    this.plan = plan;
    this.running = running;
  }

  /** Starts all of them. */
  start(): void {
    for (let client = 1; client <= this.plan.clients; client++) void this.live(client);
  }

  /** They begin nothing more. */
  stop(): void {
    this.stopped = true;
  }

  /** One write and one read of a key on a member, as part of the history. */
  async touch(client: number, machine: Machine): Promise<boolean> {
    const key = this.key();
    const written = await this.write(client, machine, undefined, this.action(key, "put"));
    const read = await this.read(client, machine, key);
    return written.outcome === "ok" && read.outcome === "ok";
  }

  /** Reads every key on a member; true if all answered. */
  async readAll(client: number, machine: Machine): Promise<boolean> {
    let complete = true;
    for (let key = 0; key < this.plan.keys; key++) {
      const { outcome } = await this.read(client, machine, `k${key}`);
      complete &&= outcome === "ok";
    }
    return complete;
  }

  private async live(client: number): Promise<void> {
    const sessions = this.random.int(2) === 0;
    let session: Session | undefined;
    while (!this.stopped) {
      await this.wait(this.random.int(this.plan.pauseMs));
      const machine = this.someone();
      if (this.stopped || machine === undefined) continue;
      const key = this.key();
      if (this.random.int(3) === 0) {
        await this.read(client, machine, key);
      } else if (sessions) {
        session ??= await this.openSession(machine);
        if (session === undefined) continue;
        const { outcome } = await this.write(client, machine, session, this.action(key));
        if (outcome !== "ok") session = undefined;
      } else {
        await this.write(client, machine, undefined, this.action(key));
      }
    }
  }

  private key(): string {
    return `k${this.random.int(this.plan.keys)}`;
  }

  private someone(): Machine | undefined {
    const running = this.running();
    return running[this.random.int(running.length)];
  }

  private action(key: string, only?: "put"): Action {
    const value = String(this.history.length).padEnd(this.plan.valueBytes, ".");
    const roll = only === "put" ? 0 : this.random.int(10);
    if (roll < 5) return { kind: "put", key, value };
    if (roll < 8) return { kind: "append", key, value: `,${value}` };
    const seen = this.history.findLast((operation) => operation.key === key && operation.outcome === "ok");
    return { kind: "cas", key, expect: seen?.value ?? "", value };
  }

  private begin(client: number, fields: Pick<Operation, "kind" | "key" | "value" | "expect">): Operation {
    const operation: Operation = {
      operation: this.history.length,
      client,
      ...fields,
      call: ++this.moments,
      callMs: this.scheduler.nowMs,
      outcome: "unknown",
    };
    this.history.push(operation);
    return operation;
  }

  private end(operation: Operation, answer: Answer): void {
    operation.outcome = answer.outcome;
    if (answer.outcome === "unknown") return;
    operation.return = ++this.moments;
    operation.returnMs = this.scheduler.nowMs;
    if (answer.outcome === "ok") operation.output = answer.output;
  }

  private async read(client: number, machine: Machine, key: string): Promise<Answer> {
    const operation = this.begin(client, { kind: "read", key });
    const { node, registers } = machine;
    const answer =
      node === undefined
        ? ({ outcome: "fail" } as const)
        : await this.patiently(
            node.read().then(() => ({ outcome: "ok" as const, output: registers?.state.get(key) ?? "" })),
            // A read has no effect, whatever became of it.
            () => ({ outcome: "fail" }),
          );
    this.end(operation, answer);
    return answer;
  }

  private async write(client: number, machine: Machine, session: Session | undefined, action: Action): Promise<Answer> {
    const operation = this.begin(client, action);
    const data = encodeAction(operation.operation, action);
    let answer: Answer;
    if (session === undefined) answer = await this.propose(machine, undefined, data);
    else {
      session.number++;
      answer = await this.propose(machine, session, data);
      // Repeated on any member until it is answered: it is applied once all the same.
      for (let attempt = 0; attempt < 6 && answer.outcome === "unknown"; attempt++) {
        await this.wait(100 + this.random.int(400));
        const other = this.someone();
        if (other === undefined) continue;
        const again = await this.propose(other, session, data);
        // What is refused now may have been taken before.
        if (again.outcome === "ok") answer = again;
      }
    }
    this.end(operation, answer);
    return answer;
  }

  private async propose(machine: Machine, session: Session | undefined, data: Uint8Array): Promise<Answer> {
    const { node } = machine;
    if (node === undefined) return { outcome: "fail" };
    const applied =
      session === undefined
        ? node.propose(data)
        : node.proposeInSession(session.id, session.number, session.number - 1, data);
    return this.patiently(
      applied.then(({ result }) => ({ outcome: "ok" as const, output: Buffer.from(result ?? []).toString() })),
      (error) => {
        const refused = ["RAFT_PROPOSAL_DROPPED", "RAFT_NOT_LEADER", "RAFT_CLOSED", "RAFT_SESSION_UNKNOWN"];
        return { outcome: RaftError.is(error) && refused.includes(error.code) ? "fail" : "unknown" };
      },
    );
  }

  private async openSession(machine: Machine): Promise<Session | undefined> {
    const opened = machine.node?.openSession().then(
      (id) => ({ id, number: 0 }),
      () => undefined,
    );
    return Promise.race([opened, this.wait(patienceMs).then(() => undefined)]);
  }

  private patiently(work: Promise<Answer>, failed: (error: unknown) => Answer): Promise<Answer> {
    const late = this.wait(patienceMs).then(() => failed(undefined));
    return Promise.race([work.catch(failed), late]);
  }

  private wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.scheduler.after(delayMs, resolve));
  }
}
