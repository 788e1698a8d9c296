/** The contract of `Proposer`: cases that each implementation passes. */
import { Network, StoreConflict_Kind, StoreResult } from "@warren/api";
import { assert } from "@warren/std";
import type { ContractCase } from "@warren/std/testing";

import { encodeCommand, encodeReign } from "../command.ts";
import { StoreError } from "../errors.ts";
import type { Proposer } from "../proposer.ts";
import { schema } from "../schema.ts";
import type { StoreStateMachine } from "../state-machine.ts";

export interface ProposerUnderTest extends AsyncDisposable {
  /** The proposer of a leader that has begun no reign. */
  readonly proposer: Proposer;
  /** The state machine that it applies commands to. */
  readonly machine: StoreStateMachine;
  /** The term that it leads. */
  readonly term: number;
  /** Ends its leadership; it does not lead again. */
  depose(): Promise<void>;
}

const at = new Date(0);
const reign = 7;

/** A command that is computed on the current state. */
function command(id: string, { machine, term }: ProposerUnderTest): Uint8Array {
  const object = Network.create({ meta: { id }, spec: { name: id } });
  const head = { schema, level: schema.level, at, term, reign, base: machine.view().version };
  return encodeCommand(head, [{ kind: "create", table: "networks", object, expectedVersion: 0 }]);
}

const beginning = (term: number, number = reign): Uint8Array =>
  encodeReign({ schema, level: schema.level, at, term, reign: number, base: 0 });

function refusal(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

export const proposerContract: readonly ContractCase<() => Promise<ProposerUnderTest>>[] = [
  {
    title: "a proposal is applied here when it resolves, and resolves with the result of apply",
    async run(make) {
      await using made = await make();
      await made.proposer.propose(beginning(made.term), made.term);
      const create = command("a", made);
      const first = StoreResult.decode(await made.proposer.propose(create, made.term));
      assert(first.conflicts.length === 0, "the first is applied");
      assert(made.machine.view().get("networks", "a") !== undefined, "and is seen here");
      const second = StoreResult.decode(await made.proposer.propose(create, made.term));
      assert(second.conflicts[0]?.kind === StoreConflict_Kind.OVERTAKEN, "its repetition is refused by the machine");
    },
  },
  {
    title: "concurrent proposals are applied in the order of the calls",
    async run(make) {
      await using made = await make();
      const numbers = Array.from({ length: 20 }, (_, n) => n + 1);
      await Promise.all(numbers.map((number) => made.proposer.propose(beginning(made.term, number), made.term)));
      const applied = made.machine.view().reigns.map((each) => each.reign);
      assert(applied.join() === numbers.join(), `ascending reigns, not ${applied.join(", ")}`);
    },
  },
  {
    title: "a proposal's log entry has the term that the proposal names",
    async run(make) {
      await using made = await make();
      await made.proposer.propose(beginning(made.term), made.term);
      assert(made.machine.view().reigns[0]?.term === made.term, "the entry's term, or the machine had refused it");
    },
  },
  {
    title: "a proposal of a term that this manager does not lead is refused and not applied",
    async run(make) {
      await using made = await make();
      for (const term of [made.term - 1, made.term + 1]) {
        const refused = await refusal(made.proposer.propose(beginning(term), term));
        assert(StoreError.is(refused, "STORE_NOT_LEADER"), `STORE_NOT_LEADER, not ${String(refused)}`);
      }
      await made.proposer.propose(beginning(made.term), made.term);
      assert(made.machine.view().reigns.length === 1, "only that of its own term is applied");
    },
  },
  {
    title: "without leadership a proposal is refused and not applied",
    async run(make) {
      await using made = await make();
      await made.proposer.propose(beginning(made.term), made.term);
      const create = command("b", made);
      await made.depose();
      const refused = await refusal(made.proposer.propose(create, made.term));
      assert(StoreError.is(refused, "STORE_NOT_LEADER"), `STORE_NOT_LEADER, not ${String(refused)}`);
      assert(made.machine.view().get("networks", "b") === undefined, "nothing of it is applied");
    },
  },
  {
    title: "after a read every proposal that resolved before it is applied here, and the leader is known",
    async run(make) {
      await using made = await make();
      const answered = made.proposer.propose(beginning(made.term), made.term);
      await answered;
      await made.proposer.read();
      assert(made.machine.view().reigns.length === 1, "what was answered is applied");
      assert(made.proposer.leader() !== undefined, "the leader is known where it leads itself");
    },
  },
];
