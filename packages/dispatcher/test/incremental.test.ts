/** Over random histories, the objects that a node has from its stream equal `assignmentsOf`. */
import {
  LeaseState,
  NodeStatus_State,
  PortSpec_Mode,
  TaskState,
  Version,
  type AssignmentsMessage,
  type Lease,
  type Slot,
} from "@warren/api";
import { assignedKinds, assignmentDigest, assignmentDigestBytes, kindName, type AssignedKind } from "@warren/api/model";
import type { Store, Transaction } from "@warren/store";
import * as fc from "fast-check";
import { expect, test } from "vitest";

import { assignmentsOf } from "../src/objects.ts";
import {
  deploy,
  epoch,
  harness,
  lagging,
  lease,
  nodeId,
  place,
  slot,
  storedNode,
  taskOf,
  type Harness,
  type Reading,
} from "./harness.ts";

const nodes = [nodeId("a"), nodeId("b"), nodeId("c")] as const;
const services = ["web", "db", "app"] as const;

/** A worker that applies its stream; objects are encoded, as text. */
class Folded {
  readonly objects = new Map<string, Buffer>();
  #position = "";

  apply({ appliesTo, resultsIn, changes, dropped }: AssignmentsMessage): void {
    expect(appliesTo).toBe(appliesTo === "" ? "" : this.#position);
    this.#position = resultsIn;
    const digests = new Map([...this.objects].map(([place, bytes]) => [digestOf(place, bytes), place] as const));
    for (let at = 0; at < dropped.length; at += assignmentDigestBytes) {
      const place = digests.get(dropped.subarray(at, at + assignmentDigestBytes).toString("hex"));
      expect(place, "what is dropped is held").toBeDefined();
      this.objects.delete(place!);
    }
    for (const { kind, key, object } of changes) {
      const place = `${kindName(kind)}/${key}`;
      if (object !== undefined) this.objects.set(place, object);
      // Only an object that the worker has is removed.
      else expect(this.objects.delete(place), `${place} is removed`).toBe(true);
    }
  }

  held(): Buffer {
    const digests = [...this.objects].map(([place, bytes]) => digestOf(place, bytes));
    return Buffer.from(digests.toSorted().join(""), "hex");
  }
}

function digestOf(place: string, bytes: Buffer): string {
  const slash = place.indexOf("/");
  const { kind } = assignedKinds[place.slice(0, slash) as AssignedKind];
  return assignmentDigest(kind, place.slice(slash + 1), bytes).toString("hex");
}

const step = fc.record({
  kind: fc.constantFrom(
    "deploy",
    "deploy",
    "undeploy",
    "lease",
    "lease",
    "lease",
    "leaseState",
    "leaseState",
    "leaseState",
    "unslot",
    "task",
    "task",
    "task",
    "node",
    "login",
    "logout",
    "publish",
    "networks",
    "digest",
    "record",
  ),
  service: fc.constantFrom(...services),
  number: fc.integer({ min: 1, max: 3 }),
  on: fc.constantFrom(...nodes),
  epoch: fc.integer({ min: 1, max: 3 }),
  state: fc.constantFrom(
    LeaseState.OFFERED,
    LeaseState.HELD,
    LeaseState.HELD,
    LeaseState.RELEASING,
    LeaseState.RELEASED,
  ),
  running: fc.constantFrom(TaskState.ASSIGNED, TaskState.RUNNING, TaskState.RUNNING, TaskState.FAILED),
  registry: fc.constantFrom("docker.io", "registry.example"),
  networks: fc.constantFrom(["n1"], ["n2"], ["n1", "n2"], ["n3"]),
  down: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Steps that the state does not allow have no effect. */
function take(
  tx: Transaction,
  { kind, service: of, number, on, state, running, registry, networks, down, ...rest }: Step,
): void {
  const service = tx.get("services", of);
  const id = `${of}.${number}`;
  const there = tx.get("slots", id);
  const version = tx.get("versions", `v-${of}`);
  switch (kind) {
    case "deploy":
      if (service !== undefined || version !== undefined) return;
      deploy(tx, of, { networks, image: registry === "docker.io" ? "nginx" : `${registry}/app` });
      return;
    case "undeploy":
      if (service !== undefined) tx.delete("services", of);
      if (down && version !== undefined) tx.delete("versions", `v-${of}`);
      return;
    case "lease":
      if (there === undefined) place(tx, of, number, on, { state: running });
      else
        addLease(tx, there, lease(on, { epoch: epoch(rest.epoch), versionId: `v-${of}`, state, address: "10.77.9.9" }));
      return;
    case "leaseState":
      if (there === undefined) return;
      tx.update("slots", {
        ...there,
        leases: there.leases.map((each) => (each.epoch?.index === rest.epoch ? { ...each, state } : each)),
      });
      return;
    case "unslot":
      if (there === undefined) return;
      for (const task of tx.find("tasks", "slot", id)) tx.delete("tasks", task.meta!.id);
      tx.delete("slots", id);
      return;
    case "task":
      for (const task of tx.find("tasks", "slot", id))
        if (task.epoch?.index === rest.epoch)
          tx.update("tasks", { ...task, status: { ...task.status!, state: running } });
      return;
    case "node": {
      const status = {
        state: down ? NodeStatus_State.DOWN : NodeStatus_State.READY,
        message: "",
        at: new Date(0),
      };
      const node = tx.get("nodes", on);
      if (node === undefined) tx.create("nodes", storedNode(on, status));
      else tx.update("nodes", { ...node, status });
      return;
    }
    case "login":
    case "logout": {
      const [credential] = tx.find("registries", "name", registry);
      if (kind === "logout" && credential !== undefined) tx.delete("registries", registry);
      if (kind === "login" && credential === undefined)
        tx.create("registries", { meta: { id: registry }, registry, auth: { username: "u", password: "p" } } as never);
      return;
    }
    case "publish":
      if (service === undefined) return;
      tx.update("services", {
        ...service,
        endpoint: {
          ...service.endpoint!,
          vip: number === 3 ? "" : "10.96.0.10",
          ports: down ? [{ target: 80, published: 80, protocol: 1, mode: PortSpec_Mode.INGRESS }] : [],
        },
      });
      return;
    case "networks": {
      if (service === undefined) return;
      const next = `v-${of}-${networks.join("-")}`;
      if (tx.get("versions", next) === undefined)
        tx.create("versions", Version.create({ meta: { id: next }, serviceId: of, networks: [...networks] }));
      tx.update("services", { ...service, versionId: next });
      return;
    }
    case "digest":
      if (version !== undefined)
        tx.update("versions", { ...version, imageDigest: `sha256:${String(number).repeat(64)}` });
      return;
    case "record":
      if (there !== undefined) tx.update("slots", { ...there, settled: String(rest.epoch) });
      return;
  }
}

function addLease(tx: Transaction, there: Slot, added: Lease): void {
  if (there.leases.some((each) => each.epoch?.index === added.epoch?.index)) return;
  tx.update("slots", { ...there, leases: [...there.leases, added] });
  tx.create("tasks", taskOf(slot(there.serviceId, 1, [], { meta: there.meta!, key: there.key! }), added));
}

async function quiet(h: Harness): Promise<void> {
  for (let n = 0; n < 6; n++) await h.clock.advanceAsync(100);
}

test("a worker that applies its stream has exactly the assigned objects, and resumes with the difference", async () => {
  let removals = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(step, fc.nat(120), fc.nat(9)), { minLength: 20, maxLength: 50, size: "max" }),
      async (steps) => {
        // One batch of changes in four is lost with its watch, so the dispatcher resyncs.
        let batches = 0;
        const storeOf = (store: Store): Store => lagging(store, () => (batches += 1) % 4 === 0);
        await using h = await harness({ batchChanges: 3 }, { storeOf });
        await h.store.update((tx) => {
          for (const of of services) {
            deploy(tx, of, { networks: of === "db" ? ["n1", "n2"] : ["n1"] });
            for (const [n, on] of nodes.entries()) place(tx, of, n + 1, on, { state: TaskState.RUNNING });
          }
        });
        const workers = await Promise.all(
          ["a", "b"].map(async (name) => ({ worker: await h.worker(name), folded: new Folded() })),
        );
        const open = ({ worker, folded }: (typeof workers)[number]): Reading<AssignmentsMessage> =>
          worker.assignments(folded.held());
        const streams = workers.map(open);
        const taken = workers.map(() => 0);
        const fold = (at: number): void => {
          const { values } = streams[at]!;
          for (const message of values.slice(taken[at])) workers[at]!.folded.apply(message);
          removals += values
            .slice(taken[at])
            .flatMap(({ changes }) => changes)
            .filter(({ object }) => !object).length;
          taken[at] = values.length;
        };
        for (const [each, waitMs, reopens] of steps) {
          await h.store.update((tx) => take(tx, each));
          await h.clock.advanceAsync(waitMs);
          if (reopens < workers.length) {
            // The new stream has the difference to the old one's objects.
            fold(reopens);
            streams[reopens] = open(workers[reopens]!);
            taken[reopens] = 0;
          }
        }
        await quiet(h);
        for (const [at, { worker, folded }] of workers.entries()) {
          fold(at);
          const expected = assignmentsOf(h.store.view(), worker.id);
          expect([...folded.objects.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
          for (const [ref, bytes] of expected) expect(folded.objects.get(ref)?.equals(bytes), ref).toBe(true);
        }
      },
    ),
    { numRuns: 60 },
  );
  expect(removals, "the histories take things away").toBeGreaterThan(300);
}, 120_000);
