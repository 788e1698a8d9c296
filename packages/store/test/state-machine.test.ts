import { Network, StoreCommand, StoreResult, StoreSnapshotChunk, Task } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { describe, expect, test } from "vitest";

import { encodeCommand, encodeReign, type Write } from "../src/command.ts";
import { StoreStateMachine, type StoreFailure } from "../src/index.ts";
import { schema } from "../src/schema.ts";
import { State } from "../src/state.ts";
import { definitions } from "../src/tables.ts";
import { memoryStore } from "../src/testing/index.ts";

const at = new Date(1_000);
const create = (name: string, id = name): Write => ({
  kind: "create",
  table: "networks",
  object: Network.create({ meta: { id }, spec: { name } }),
  expectedVersion: 0,
});
const written = { schema, level: 1 };
const term = 3;
const reign = 77;
const apply = (machine: StoreStateMachine, index: number, ...writes: Write[]): StoreResult["conflicts"] => {
  // A machine without a reign begins one, at version 0.
  if (machine.state.reigns.length === 0)
    machine.apply([{ index: 0, term, data: encodeReign({ ...written, at, term, reign, base: 0 }) }]);
  const head = { ...written, at, term, reign: machine.state.reign, base: machine.view().version };
  return StoreResult.decode(machine.apply([{ index, term, data: encodeCommand(head, writes) }])[0]!).conflicts;
};

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
}
async function all(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for await (const part of chunks) parts.push(part);
  return parts;
}
async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await all(chunks));
}
const failure = (work: Promise<unknown>): Promise<StoreFailure> =>
  work.then(
    () => expect.unreachable("it should have failed"),
    (error: { failure: StoreFailure }) => error.failure,
  );

describe("a command", () => {
  test("with any conflict changes nothing and names each of them", () => {
    const machine = new StoreStateMachine();
    apply(machine, 5, create("a"), create("b"));
    const stale = { kind: "update", table: "networks", object: create("b").object, expectedVersion: 4 } as const;
    const gone = { kind: "delete", table: "networks", object: create("x").object, expectedVersion: 1 } as const;
    expect(apply(machine, 6, create("c"), create("a"), stale, gone)).toMatchObject([
      { table: "networks", id: "a", kind: 3 },
      { id: "b", kind: 1 },
      { id: "x", kind: 2 },
    ]);
    expect(machine.view().version).toBe(5);
    expect(machine.view().list("networks")).toHaveLength(2);
  });

  test("that would give one name to two objects is refused", () => {
    const machine = new StoreStateMachine();
    apply(machine, 1, create("web", "a"));
    expect(apply(machine, 2, create("web", "b"))).toMatchObject([{ id: "b", kind: 4 }]);
    expect(apply(machine, 3, create("x", "c"), create("x", "d"))).toHaveLength(2);
    expect(machine.view().list("networks")).toHaveLength(1);
  });

  test("of a level that is not read, or with an unknown field, stops this member", () => {
    const machine = new StoreStateMachine();
    const send = (command: Parameters<typeof StoreCommand.create>[0]): (() => unknown) => {
      const data = StoreCommand.encode(StoreCommand.create(command)).finish();
      return () => machine.apply([{ index: 1, term: 0, data }]);
    };
    const network = { object: { $case: "network" as const, value: Network.create({ meta: { id: "a" } }) } };
    expect(send({ level: 2, at, actions: [] })).toThrow("the cluster's level is 2");
    expect(send({ level: 0, at, actions: [] })).toThrow("the cluster's level is 0");
    expect(send({ level: 1, at, actions: [{ kind: 1 }] })).toThrow("no object");
    expect(send({ level: 1, at, actions: [{ kind: 0, object: network }] })).toThrow("not known");
    expect(send({ level: 1, actions: [] })).toThrow("no time");
    expect(send({ level: 1, at, beginsReign: true, actions: [{ kind: 1, object: network }] })).toThrow(
      "begins a reign",
    );
    expect(
      send({ level: 1, at, actions: [{ kind: 1, object: { object: { $case: "task", value: Task.create({}) } } }] }),
    ).toThrow("no id");
    const twice = { kind: 1 as const, object: network };
    expect(send({ level: 1, at, actions: [twice, twice] })).toThrow("twice");
    expect(() => machine.apply([{ index: 1, term, data: Uint8Array.of(0xff, 0xff) }])).toThrow("damaged");
    expect(machine.view().version).toBe(0);
  });
});

test("writes to one copy of a state do not appear in another", () => {
  const first = State.empty(schema);
  first.own(definitions.networks).put(create("shared").object);
  const second = first.copy();
  first.own(definitions.networks).put(create("first").object);
  second.own(definitions.networks).put(create("second").object);
  const ids = (state: State): unknown =>
    state
      .table("networks")
      .list()
      .map(({ meta }) => meta?.id);
  expect([ids(first), ids(second)]).toEqual([
    ["first", "shared"],
    ["second", "shared"],
  ]);
});

describe("a snapshot", () => {
  const filled = async (): Promise<StoreStateMachine> => {
    const { store, machine } = memoryStore();
    await store.update((tx) => {
      for (let n = 0; n < 2_000; n++)
        tx.create(
          "tasks",
          Task.create({ serviceId: `s${n % 7}`, slot: numberedSlot(n + 1), status: { message: "running well" } }),
        );
    });
    return machine;
  };

  test("has the state at the time of the call, however slowly it is read while commands are applied", async () => {
    const machine = await filled();
    const before = machine.view();
    const chunks = machine.snapshot()[Symbol.asyncIterator]();
    const parts: Uint8Array[] = [];
    for (let index = 10, next = await chunks.next(); next.done !== true; next = await chunks.next(), index++) {
      parts.push(next.value);
      apply(machine, index, create(`n${index}`));
    }
    expect(parts.length).toBeGreaterThan(2);
    const copy = new StoreStateMachine();
    await copy.restore(pieces(Buffer.concat(parts), 1 << 20));
    expect(copy.view().version).toBe(before.version);
    expect(copy.view().list("networks")).toEqual([]);
    expect(copy.view().list("tasks")).toEqual(before.list("tasks"));
  });

  test("is read correctly, however its bytes are divided into chunks", async () => {
    const machine = new StoreStateMachine();
    apply(machine, 3, create("a"), create("b"));
    const bytes = await bytesOf(machine.snapshot());
    for (const size of [1, 2, 3, 7, 64, bytes.length]) {
      const copy = new StoreStateMachine();
      await copy.restore(pieces(bytes, size));
      expect(copy.view().list("networks")).toEqual(machine.view().list("networks"));
      expect(() => Object.assign(copy.view().list("networks")[0]!, { spec: undefined })).toThrow(TypeError);
    }
  });

  test("that is cut, damaged or of an unknown level is refused and leaves the state alone", async () => {
    const machine = new StoreStateMachine();
    apply(machine, 3, create("a"), create("b"));
    const bytes = await bytesOf(machine.snapshot());
    const target = new StoreStateMachine();
    apply(target, 1, create("kept"));
    for (let length = 0; length < bytes.length; length++)
      expect(await failure(target.restore(pieces(bytes.subarray(0, length), 16)))).toMatchObject({
        code: "STORE_DAMAGED",
        what: "snapshot",
      });
    const framed = (chunk: StoreSnapshotChunk): Buffer => {
      const body = StoreSnapshotChunk.encode(chunk).finish();
      return Buffer.concat([Uint8Array.of(body.length), body]);
    };
    const header = (level: number, objects = 0): Buffer =>
      framed({ part: { $case: "header", value: { level, version: 1, objects, reigns: [] } } });
    const nothing = framed({ part: undefined });
    for (const [damagedBytes, code] of [
      [header(2), "STORE_LEVEL_REFUSED"],
      [
        Buffer.concat([header(1, 1), framed({ part: { $case: "object", value: { object: undefined } } })]),
        "STORE_DAMAGED",
      ],
      [Buffer.concat([bytes, header(1)]), "STORE_DAMAGED"],
      [Buffer.concat([header(1), nothing]), "STORE_DAMAGED"],
      [nothing, "STORE_DAMAGED"],
      [Buffer.of(2, 0xff, 0xff), "STORE_DAMAGED"],
      [Buffer.of(0xff, 0xff, 0xff, 0xff, 0x7f), "STORE_DAMAGED"],
    ] as const)
      expect(await failure(target.restore(pieces(damagedBytes, 16)))).toMatchObject({ code });
    expect(
      target
        .view()
        .list("networks")
        .map(({ spec }) => spec?.name),
    ).toEqual(["kept"]);
  });

  test("that replaces the state reaches watchers as the difference", async () => {
    const machine = new StoreStateMachine();
    apply(machine, 1, create("stays"), create("goes"), create("changes"));
    const stop = new AbortController();
    const { changes } = machine.watch({ signal: stop.signal });
    const ahead = new StoreStateMachine();
    await ahead.restore(machine.snapshot());
    const gone: Write = { kind: "delete", table: "networks", object: create("goes").object, expectedVersion: 1 };
    const changed: Write = { kind: "update", table: "networks", object: create("changes").object, expectedVersion: 1 };
    apply(ahead, 9, gone, changed, create("comes"));
    await machine.restore(ahead.snapshot());
    for await (const { version, changes: batch } of changes) {
      expect(version).toBe(9);
      expect(batch.map(({ kind, object }) => `${kind} ${object.meta?.id}`).sort()).toEqual([
        "create comes",
        "delete goes",
        "update changes",
      ]);
      break;
    }
    stop.abort();
  });
});
