import { StoreConflict_Kind, StoreResult } from "@warren/api";

import { StoreError } from "../errors.ts";
import type { Proposer } from "../proposer.ts";
import type { StoreStateMachine } from "../state-machine.ts";

/** What becomes of a proposal instead of its being applied and answered. */
export type ProposerFault =
  /** The state machine refuses it, as if another manager's command had come first. */
  | "conflict"
  | "unavailable"
  /** `STORE_OUTCOME_UNKNOWN`, and it was applied. */
  | "outcome-unknown-applied"
  /** `STORE_OUTCOME_UNKNOWN`, and it was lost. */
  | "outcome-unknown-lost";

/** Consensus of one, in memory: a command is applied at once, in the turn after its proposal. */
export class MemoryProposer implements Proposer {
  readonly #machine: StoreStateMachine;
  readonly #faults: ProposerFault[] = [];
  #held: PromiseWithResolvers<void> | undefined;
  #index: number;
  /** False: proposals are refused with `STORE_NOT_LEADER`. */
  leader = true;
  /** Every command that was applied, with its index: a log that can be replayed. */
  readonly applied: { readonly index: number; readonly data: Uint8Array }[] = [];

  constructor(machine: StoreStateMachine) {
    this.#machine = machine;
    this.#index = machine.view().version;
  }

  /** The next proposals each meet the next of these. */
  failNext(...faults: readonly ProposerFault[]): void {
    this.#faults.push(...faults);
  }

  /** Proposals wait until the function that this returns is called. */
  hold(): () => void {
    const held = Promise.withResolvers<void>();
    this.#held = held;
    return () => {
      if (this.#held === held) this.#held = undefined;
      held.resolve();
    };
  }

  async propose(command: Uint8Array): Promise<Uint8Array> {
    await this.#held?.promise;
    if (!this.leader)
      throw new StoreError({ code: "STORE_NOT_LEADER", leader: undefined }, "this manager does not lead");
    const fault = this.#faults.shift();
    switch (fault) {
      case undefined:
        return this.#apply(command);
      case "conflict":
        return StoreResult.encode({
          conflicts: [{ table: "nodes", id: "elsewhere", kind: StoreConflict_Kind.STALE }],
        }).finish();
      case "unavailable":
        throw new StoreError({ code: "STORE_UNAVAILABLE", reason: "told so by the test" }, "not taken, as told");
      case "outcome-unknown-applied":
        this.#apply(command);
        throw new StoreError({ code: "STORE_OUTCOME_UNKNOWN" }, "applied without an answer, as told");
      case "outcome-unknown-lost":
        throw new StoreError({ code: "STORE_OUTCOME_UNKNOWN" }, "lost without an answer, as told");
    }
  }

  #apply(data: Uint8Array): Uint8Array {
    this.#index += 1;
    const command = { index: this.#index, data };
    this.applied.push(command);
    const [result] = this.#machine.apply([command]);
    if (result === undefined) throw new Error("assertion failed: no result");
    return result;
  }
}
