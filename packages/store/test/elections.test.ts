/** Raft members with a store each: what a manager that leads again, or leads late, may write. */
import { Service } from "@warren/api";
import { expect, test } from "vitest";

import { StoreError, StoreStateMachine } from "../src/index.ts";
import { allocate, checkAllocations } from "./simulation/allocations.ts";
import { Managers, type Manager } from "./simulation/managers.ts";

async function started(): Promise<Managers> {
  const managers = new Managers(1, 2, () => ({ machine: () => new StoreStateMachine() }));
  for (const manager of managers.all) await managers.start(manager);
  await managers.settle("a first term", () => managers.agree());
  return managers;
}

/** Transfers leadership to the manager; its state machine may be held back. */
async function elect(managers: Managers, { id, run }: Manager): Promise<void> {
  // The call may time out on this clock; only the new leader is waited for.
  void managers.leader?.run.node.transferLeadership(id).catch(() => undefined);
  for (let step = 0; step < 1_000 && run?.node.leadership().isLeader !== true; step++) {
    while (managers.wire.length > 0) managers.deliver();
    await managers.turn();
    if (step % 4 === 0) managers.tick(...managers.running);
  }
  expect(run?.node.leadership().isLeader).toBe(true);
}

const other = (managers: Managers): Manager => managers.all.find((manager) => manager !== managers.leader) as Manager;

test("a leader whose state machine is held back writes nothing until it has caught up, and allocates nothing twice", async () => {
  const managers = await started();
  const [first, second] = [managers.leader!, other(managers)];
  second.holdBack();
  const given = first.run.store.update((tx) => allocate(tx, "first"));
  while (first.run.store.view().list("services").length === 0) {
    while (managers.wire.length > 0) managers.deliver();
    await managers.turn();
  }
  await given;
  await elect(managers, second);
  const early = second.run!.store.update((tx) => allocate(tx, "early"));
  await expect(early).rejects.toSatisfy((error) => StoreError.is(error, "STORE_NOT_LEADER"));
  await managers.settle("the second's term", () => managers.agree());
  const late = second.run!.store.update((tx) => allocate(tx, "late"));
  await managers.settle("all apply it", () => first.run.store.view().list("services").length === 2);
  await late;
  checkAllocations(first.run.store.view());
  expect(
    first.run.store
      .view()
      .list("services")
      .reduce((vips, { endpoint }) => vips.add(endpoint?.vip), new Set<unknown>()),
  ).toEqual(new Set(["10.96.0.1", "10.96.0.2"]));
  for (const manager of managers.all) await managers.stop(manager);
});

test("a decision of one term is not written in a later one, even by a loop that did not notice another leader in between", async () => {
  const managers = await started();
  const [first, second] = [managers.leader!, other(managers)];
  // The loop reads what is free, and writes late.
  const { term } = first.run.store.term!;
  const free = `10.96.0.${first.run.store.view().list("services").length + 1}`;
  await elect(managers, second);
  await managers.settle("the second's term", () => managers.agree());
  const taken = second.run!.store.update((tx) => allocate(tx, "second"));
  await managers.settle("all apply it", () => first.run.store.view().list("services").length === 1);
  await taken;
  await elect(managers, first);
  await managers.settle("the first leads again", () => managers.agree());
  const service = Service.create({ spec: { name: "late" }, endpoint: { vip: free } });
  const late = first.run.store.update((tx) => tx.create("services", service), { term });
  await expect(late).rejects.toSatisfy((error) => StoreError.is(error, "STORE_NOT_LEADER"));
  checkAllocations(first.run.store.view());
  for (const manager of managers.all) await managers.stop(manager);
});
