/** What every `Proposer` does, whatever consensus is behind it. */
import { Network, StoreResult } from "@warren/api";
import { assert } from "@warren/std";

import { encodeCommand } from "../command.ts";
import { StoreError } from "../errors.ts";
import type { Proposer } from "../proposer.ts";
import type { StoreStateMachine } from "../state-machine.ts";

export interface ProposerUnderTest extends AsyncDisposable {
  readonly proposer: Proposer;
  /** What it applies to. */
  readonly machine: StoreStateMachine;
  /** Takes leadership away from it, for good. */
  depose(): Promise<void>;
}

export interface ProposerContractCase {
  readonly title: string;
  readonly run: (make: () => Promise<ProposerUnderTest>) => Promise<void>;
}

function command(id: string): Uint8Array {
  const object = Network.create({ meta: { id }, spec: { name: id } });
  return encodeCommand(new Date(0), [{ kind: "create", table: "networks", object, expectedVersion: 0 }]);
}

export const proposerContract: readonly ProposerContractCase[] = [
  {
    title: "a proposal is applied here when it is answered, and answered with what apply said",
    async run(make) {
      await using made = await make();
      const first = StoreResult.decode(await made.proposer.propose(command("a")));
      assert(first.conflicts.length === 0, "the first is applied");
      assert(made.machine.view().get("networks", "a") !== undefined, "and is seen here");
      const second = StoreResult.decode(await made.proposer.propose(command("a")));
      assert(second.conflicts[0]?.id === "a", "the second is refused by the state machine");
    },
  },
  {
    title: "proposals made at once are applied in the order of the calls",
    async run(make) {
      await using made = await make();
      const ids = Array.from({ length: 20 }, (_, n) => `n${n}`);
      await Promise.all(ids.map((id) => made.proposer.propose(command(id))));
      const versions = ids.map((id) => made.machine.view().get("networks", id)?.meta?.version ?? 0);
      assert(
        versions.every((version, at) => version > (versions[at - 1] ?? 0)),
        `ascending versions, not ${versions.join(", ")}`,
      );
    },
  },
  {
    title: "without leadership a proposal is refused and not applied",
    async run(make) {
      await using made = await make();
      await made.proposer.propose(command("a"));
      await made.depose();
      const refused = await made.proposer.propose(command("b")).then(
        () => undefined,
        (error: unknown) => error,
      );
      assert(StoreError.is(refused, "STORE_NOT_LEADER"), `STORE_NOT_LEADER, not ${String(refused)}`);
      assert(made.machine.view().get("networks", "b") === undefined, "nothing of it is applied");
    },
  },
];
