/** A history of managers that allocate, with elections, partitions, restarts and slow state machines at any moment. */
import { Node, Service, StoreCommand, Task } from "@warren/api";
import type { Command, RaftNode } from "@warren/raft";

import {
  raftProposer,
  StoreError,
  StoreStateMachine,
  type Proposer,
  type Transaction,
  type View,
} from "../../src/index.ts";
import { tableNames } from "../../src/tables.ts";
import { Managers, type ManagerParts } from "./managers.ts";

export interface HistoryOptions {
  readonly steps?: number;
  /** Without rule C3: a command is applied in any term and on any state, and followers forward proposals. */
  readonly unchecked?: boolean;
}

export interface HistoryReport {
  readonly violation: string | undefined;
  readonly terms: number;
  readonly written: number;
  readonly refused: number;
}

type Answer = "written" | "refused" | "unknown";

class Violation extends Error {}

/** The lowest number that is free. */
function lowest(taken: Iterable<number>): number {
  const set = new Set(taken);
  let free = 1;
  while (set.has(free)) free += 1;
  return free;
}

/** Allocates what is free in the transaction's state, and records how many transactions that state has. */
export function allocate(tx: Transaction, name: string): void {
  const services = tx.list("services");
  const vip = lowest(services.map(({ endpoint }) => Number(endpoint?.vip.split(".").at(-1))));
  const published = lowest(services.map(({ endpoint }) => endpoint?.ports[0]?.published ?? 0));
  const subnet = lowest(tx.list("nodes").map((node) => Number(node.subnet.split(".")[2])));
  const endpoint = { vip: `10.96.0.${vip}`, ports: [{ published }] };
  tx.create("services", Service.create({ spec: { name }, endpoint }));
  tx.create("nodes", Node.create({ description: { hostname: name }, subnet: `10.77.${subnet}.0/24` }));
  tx.create("tasks", Task.create({ serviceName: name, run: tx.list("tasks").length }));
}

function free(tx: Transaction, name: string): void {
  const [first] = tx.list("services");
  if (first !== undefined) tx.delete("services", first.meta?.id ?? "");
  tx.create("tasks", Task.create({ serviceName: name, run: tx.list("tasks").length }));
}

/** Checks the invariants of a state. @throws Violation */
export function checkAllocations(view: View): void {
  const services = view.list("services");
  const unique = (what: string, values: readonly unknown[]): void => {
    if (new Set(values).size < values.length) throw new Violation(`${what} given twice: ${values.join(", ")}`);
  };
  unique(
    "a VIP",
    services.map(({ endpoint }) => endpoint?.vip),
  );
  unique(
    "a port",
    services.map(({ endpoint }) => endpoint?.ports[0]?.published),
  );
  unique(
    "a subnet",
    view.list("nodes").map(({ subnet }) => subnet),
  );
  const ledger = [...view.list("tasks")].sort(
    (a, b) => (a.meta?.version ?? 0) - (b.meta?.version ?? 0) || a.run - b.run,
  );
  for (const [at, { run, serviceName }] of ledger.entries())
    if (run !== at) throw new Violation(`${serviceName} was computed on ${run} of the ${at} transactions before it`);
}

/** Disables the checks: each command is given the term and the base that the state machine expects. */
const uncheckedParts: Pick<ManagerParts, "command" | "proposer" | "forwardProposals"> = {
  forwardProposals: true,
  command(each: Command, machine: StoreStateMachine) {
    const command = StoreCommand.decode(each.data);
    const { version: base, reign } = machine.state;
    const accepted = command.beginsReign ? { term: each.term } : { term: each.term, base, reign };
    return { ...each, data: StoreCommand.encode({ ...command, ...accepted }).finish() };
  },
  proposer(node: RaftNode): Proposer {
    return {
      ...raftProposer(node),
      async propose(command) {
        try {
          const { result } = await node.propose(command);
          return result as Uint8Array;
        } catch (cause) {
          throw new StoreError({ code: "STORE_OUTCOME_UNKNOWN" }, "it may be in the log", { cause });
        }
      },
    };
  },
};

export async function runHistory(
  seed: number,
  { steps = 240, unchecked = false }: HistoryOptions = {},
): Promise<HistoryReport> {
  let violation: string | undefined;
  const managers = new Managers(seed, 3, () => ({
    machine: () => new StoreStateMachine(),
    applied(machine) {
      try {
        checkAllocations(machine.view());
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        violation ??= error.message;
      }
    },
    ...(unchecked ? uncheckedParts : {}),
  }));
  const { random, all } = managers;
  const answers = new Map<string, Promise<Answer>>();
  let calls = 0;
  let settled = 0;
  const call = (): void => {
    const manager = managers.pick();
    if (manager === undefined) return;
    const name = `c${++calls}`;
    const work = random.int(4) === 0 ? free : allocate;
    const answer = manager.run.store.update((tx) => work(tx, name)).then(() => "written" as const, answerOf);
    answers.set(
      name,
      answer.finally(() => (settled += 1)),
    );
  };
  for (const manager of all) await managers.start(manager);
  await managers.settle("a first term", () => managers.agree());
  for (let step = 0; step < steps; step++) {
    if (violation !== undefined) break;
    await managers.step(call);
  }
  await managers.startAll();
  if (violation === undefined) {
    await managers.settle("answers, and one state everywhere", () => settled === calls && managers.agree());
    violation = await judge(managers, answers);
  }
  const outcomes = violation === undefined ? await Promise.all(answers.values()) : [];
  const terms = all[0]?.run?.machine.view().reigns.length ?? 0;
  for (const manager of all) await managers.stop(manager);
  const count = (outcome: Answer): number => outcomes.filter((each) => each === outcome).length;
  return { violation, terms, written: count("written"), refused: count("refused") };
}

/** Checks that every answer is true, and that all managers have the same state. */
async function judge(managers: Managers, answers: ReadonlyMap<string, Promise<Answer>>): Promise<string | undefined> {
  const views = managers.running.map(({ run }) => run.store.view());
  const written = views.map((view) => new Set(view.list("tasks").map(({ serviceName }) => serviceName)));
  for (const [name, promised] of answers) {
    const answer = await promised;
    for (const [at, names] of written.entries())
      if (answer !== "unknown" && names.has(name) !== (answer === "written"))
        return `${name} was answered "${answer}", and manager ${at + 1} ${names.has(name) ? "has" : "lacks"} it`;
  }
  // A command whose answer was unknown may have been applied since they agreed, by some of them.
  const images = new Map<number, string>();
  for (const view of views) {
    const image = JSON.stringify([view.reigns, ...tableNames.map((table) => view.list(table))]);
    if ((images.get(view.version) ?? image) !== image) return `managers of version ${view.version} differ`;
    images.set(view.version, image);
  }
  return undefined;
}

function answerOf(error: unknown): Answer {
  if (StoreError.is(error, "STORE_OUTCOME_UNKNOWN")) return "unknown";
  if (StoreError.is(error)) return "refused";
  throw error;
}
