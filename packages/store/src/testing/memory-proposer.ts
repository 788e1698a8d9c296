import { StoreConflict_Kind, StoreResult } from "@warren/api";

import { notLeader, StoreError, unavailable } from "../errors.ts";
import type { Proposer } from "../proposer.ts";
import type { LogCommand, StoreStateMachine } from "../state-machine.ts";

/** Faults of a proposal. */
export type ProposerFault =
  /** The state machine refuses it, as if another manager's command had been applied first. */
  | "conflict"
  | "unavailable"
  /** `STORE_OUTCOME_UNKNOWN`, and it was applied. */
  | "outcome-unknown-applied"
  /** `STORE_OUTCOME_UNKNOWN`, and it was lost. */
  | "outcome-unknown-lost";

/** A log in memory that several managers share: an entry is committed at once, in the term of the log's leader. */
export class MemoryLog {
  readonly entries: LogCommand[] = [];
  readonly #members: MemoryProposer[] = [];
  #term = 0;
  #leader: MemoryProposer | undefined;

  get term(): number {
    return this.#term;
  }

  get leader(): MemoryProposer | undefined {
    return this.#leader;
  }

  /** The name of a further member. */
  join(member: MemoryProposer): string {
    this.#members.push(member);
    return String(this.#members.length);
  }

  /** Begins a term that `leader` leads, or one without a leader; returns the term. */
  elect(leader: MemoryProposer | undefined): number {
    this.#leader = leader;
    this.#term += 1;
    return this.#term;
  }

  append(data: Uint8Array, firstIndex: number): LogCommand {
    const entry = { index: (this.entries.at(-1)?.index ?? firstIndex - 1) + 1, term: this.#term, data };
    this.entries.push(entry);
    for (const member of this.#members) member.applyCommitted();
    return entry;
  }
}

/** A manager's proposer on a log in memory. Unless it is held back, it applies a command before `propose` returns its promise. */
export class MemoryProposer implements Proposer {
  readonly name: string;
  readonly #machine: StoreStateMachine;
  readonly #log: MemoryLog;
  readonly #faults: ProposerFault[] = [];
  readonly #results = new Map<number, PromiseWithResolvers<Uint8Array>>();
  #held: PromiseWithResolvers<void> | undefined;
  #holdsBack = false;
  /** Entries of the log that are applied here. */
  #position = 0;
  #caughtUp: (() => void)[] = [];
  /** Every command that was applied here: a log that can be replayed. */
  readonly applied: LogCommand[] = [];

  constructor(machine: StoreStateMachine, log: MemoryLog = new MemoryLog()) {
    this.#machine = machine;
    this.#log = log;
    this.name = log.join(this);
  }

  /** The faults of the next proposals, one each. */
  failNext(...faults: readonly ProposerFault[]): void {
    this.#faults.push(...faults);
  }

  /** Proposals are not appended to the log until the returned function is called. */
  hold(): () => void {
    const held = Promise.withResolvers<void>();
    this.#held = held;
    return () => {
      if (this.#held === held) this.#held = undefined;
      held.resolve();
    };
  }

  /** Committed entries are not applied here until the returned function is called. */
  holdBack(): () => void {
    this.#holdsBack = true;
    return () => {
      this.#holdsBack = false;
      this.applyCommitted();
    };
  }

  leader(): string | undefined {
    return this.#log.leader?.name;
  }

  async read(): Promise<void> {
    if (this.#log.leader === undefined) throw unavailable("no manager leads");
    if (this.#position < this.#log.entries.length)
      await new Promise<void>((resolve) => void this.#caughtUp.push(resolve));
  }

  async propose(command: Uint8Array, term: number): Promise<Uint8Array> {
    if (this.#held !== undefined) await this.#held.promise;
    if (this.#log.leader !== this || this.#log.term !== term) throw notLeader(this.leader());
    const fault = this.#faults.shift();
    switch (fault) {
      case undefined:
        return this.#append(command);
      case "conflict":
        return StoreResult.encode({
          conflicts: [{ table: "nodes", id: "elsewhere", kind: StoreConflict_Kind.STALE }],
        }).finish();
      case "unavailable":
        throw new StoreError(
          { code: "STORE_UNAVAILABLE", reason: "a fault of the test" },
          "refused: a fault of the test",
        );
      case "outcome-unknown-applied":
        await this.#append(command);
        throw new StoreError({ code: "STORE_OUTCOME_UNKNOWN" }, "applied without an answer: a fault of the test");
      case "outcome-unknown-lost":
        throw new StoreError({ code: "STORE_OUTCOME_UNKNOWN" }, "lost without an answer: a fault of the test");
    }
  }

  /** Applies the log's entries, unless it is held back. */
  applyCommitted(): void {
    while (!this.#holdsBack && this.#position < this.#log.entries.length) {
      const entry = this.#log.entries[this.#position++] as LogCommand;
      this.applied.push(entry);
      const [result] = this.#machine.apply([entry]);
      if (result === undefined) throw new Error("assertion failed: no result");
      this.#results.get(entry.index)?.resolve(result);
      this.#results.delete(entry.index);
    }
    if (this.#position === this.#log.entries.length) for (const resolve of this.#caughtUp.splice(0)) resolve();
  }

  #append(data: Uint8Array): Promise<Uint8Array> {
    const result = Promise.withResolvers<Uint8Array>();
    const next = (this.#log.entries.at(-1)?.index ?? this.#machine.view().version) + 1;
    this.#results.set(next, result);
    this.#log.append(data, next);
    return result.promise;
  }
}
