/** What a later program wrote into an object stays there, whatever the loops of this one make of the object. */
import { NodeSpec_Availability } from "@warren/api";
import type { Transaction } from "@warren/store";
import { expect, test } from "vitest";

import { SimulatedCluster } from "./simulated-cluster.ts";

type Fields = Readonly<Record<string, unknown>>;

const later = { [(700 << 3) | 2]: [Uint8Array.of(1, 7)] };
const tables = ["clusters", "nodes", "services", "versions", "slots", "tasks", "networks"] as const;
/** Fields that hold maps, which have no fields. */
const maps = new Set(["labels", "env", "sysctls", "extraHosts"]);
/**
 * Parts that are replaced as wholes: a state with its reason and time, of which nothing of the one before is true; and
 * the slot's record, which is as the node reports it, and begins anew with another version.
 */
const replaced = new Set(["status", "updateStatus", "record"]);

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !(value instanceof Date) && !ArrayBuffer.isView(value);
}

/** The message with a field that this program does not know, and each message in it too. */
function marked<T>(message: T): T {
  if (Array.isArray(message)) return message.map((each: unknown) => (isFields(each) ? marked(each) : each)) as T;
  const entries = Object.entries(message as Fields).map(([key, value]) => {
    if (!isFields(value) || maps.has(key) || key === "_unknownFields") return [key, value];
    if (!("$case" in value)) return [key, marked(value)];
    return [key, isFields(value["value"]) ? { ...value, value: marked(value["value"]) } : value];
  });
  return { ...Object.fromEntries(entries), _unknownFields: later } as T;
}

/** Paths below which `after` lacks what `before` has. */
function lost(before: unknown, after: unknown, path: string): string[] {
  if (!isFields(before) || !isFields(after)) return [];
  const here = "_unknownFields" in before && !("_unknownFields" in after) ? [path] : [];
  const inner = Object.entries(before).flatMap(([key, value]) => {
    if (key === "_unknownFields" || replaced.has(key)) return [];
    const other =
      key === "leases"
        ? (value as readonly Fields[]).map((lease) => sameLease(after["leases"] as readonly Fields[], lease))
        : after[key];
    return lost(value, other, Array.isArray(before) ? `${path}[]` : `${path}.${key}`);
  });
  return [...here, ...inner];
}

function sameLease(leases: readonly Fields[], lease: Fields): Fields | undefined {
  const epoch = (each: Fields): string => {
    const { reign, index } = each["epoch"] as Fields;
    return `${String(reign)}/${String(index)}`;
  };
  return leases.find((each) => epoch(each) === epoch(lease));
}

test("a service that is created, updated, moved, scaled and deleted loses nothing that a later program wrote", async () => {
  const world = await SimulatedCluster.start(3);
  const stop = new AbortController();
  const { changes } = world.store.watch({ signal: stop.signal });
  const losses = new Set<string>();
  const changed = new Map<string, number>();
  const watched = (async () => {
    for await (const batch of changes)
      for (const change of batch.changes) {
        if (change.kind !== "update") continue;
        changed.set(change.table, (changed.get(change.table) ?? 0) + 1);
        for (const path of lost(change.before, change.object, change.table)) losses.add(path);
      }
  })();
  const mark = async (): Promise<void> => {
    await world.store.update((tx: Transaction) => {
      for (const table of tables) for (const object of tx.list(table)) tx.update(table, marked(object) as never);
    });
    await world.settle();
  };
  const step = async (work: () => Promise<unknown>): Promise<void> => {
    await work();
    await mark();
    await world.advance(10_000);
  };
  await step(() => world.create("web", 3, { ports: [{ target: 80, published: 0 }] }));
  await step(() => world.setImage("web", "nginx:2"));
  await step(() =>
    world.changeNode("edge-1", ({ spec }) => ({ spec: { ...spec!, availability: NodeSpec_Availability.DRAIN } })),
  );
  await step(() => world.down("edge-2"));
  await step(() => world.up("edge-2"));
  await step(() => world.rollback("web"));
  await step(() => world.scale("web", 5));
  await step(async () => world.end(world.running("web")[0]!));
  // What waits for a node is marked too, before it is offered to one.
  for (const node of ["edge-1", "edge-2", "edge-3"]) await step(() => world.down(node));
  await step(() => world.scale("web", 7));
  for (const node of ["edge-1", "edge-2", "edge-3"]) await step(() => world.up(node));
  await step(() => world.restart());
  await step(() => world.delete("web"));
  await world.advance(600_000);
  await world.stopLeading();
  stop.abort();
  await watched;
  expect([...losses].sort()).toEqual([]);
  for (const table of ["nodes", "services", "slots", "tasks"]) expect(changed.get(table), table).toBeGreaterThan(20);
});
