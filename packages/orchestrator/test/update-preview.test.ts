import {
  ServiceSpec,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
  UpdateStatus_State as State,
  Version,
  type Service,
} from "@warren/api";
import { slotNumber } from "@warren/api/model";
import { expect, test } from "vitest";
import { previewUpdate, type UpdatePreview } from "../src/plan.ts";
import { roleOf } from "../src/scheduling-input.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

/** What an update of `web` to another image, with other settings, would do now. */
function preview(world: SimulatedCluster, change: (spec: ServiceSpec) => void, make = "other"): UpdatePreview {
  const { view } = world;
  const service = world.service("web");
  const spec = ServiceSpec.fromPartial(service.spec!);
  change(spec);
  const before = view.get("versions", service.versionId)!;
  const wanted: Version = {
    ...before,
    meta: { ...before.meta!, id: "next" },
    task: spec.task,
    make: make || before.make,
  };
  return previewUpdate({
    service: { ...service, spec, versionId: "next" } satisfies Service,
    wanted,
    versions: [...view.find("versions", "service", "web"), wanted],
    slots: view.find("slots", "service", "web"),
    tasks: view.find("tasks", "service", "web"),
    nodeOf: (id) => view.get("nodes", id),
    roleOf: (id) => roleOf(view, id),
    now: world.clock.now(),
  });
}

const numbers = (preview: UpdatePreview): object => ({
  replaced: preview.replaced.map(slotNumber),
  moved: preview.moved.map(slotNumber),
  added: preview.added.map(slotNumber),
  removed: preview.removed.map(slotNumber),
  kept: preview.kept,
});

test.each([
  [{}, 3, 15_000],
  [{ parallelism: 2 }, 2, 10_000],
  [{ parallelism: 0, monitorMs: 1_000 }, 1, 1_000],
  [{ delayMs: 8_000 }, 3, 24_000],
  [{ failureAction: Action.CONTINUE, delayMs: 1_000 }, 3, 7_000],
])(
  "with %o three tasks take %i batches and at least %i ms, which is what the rollout takes",
  async (update, batches, leastMs) => {
    const world = await SimulatedCluster.start(2);
    await world.create("web", 3, { update });
    await world.advance(6_000);
    const planned = preview(world, () => undefined);
    expect(numbers(planned)).toEqual({ replaced: [1, 2, 3], moved: [], added: [], removed: [], kept: 0 });
    expect(planned).toMatchObject({ batches, leastMs });
    await world.setImage("web", "app:2");
    await world.advance(leastMs - 1);
    expect(world.service("web").updateStatus!.state).toBe(State.UPDATING);
    await world.advance(1);
    expect(world.service("web").updateStatus!.state).toBe(State.COMPLETED);
    await world.stopLeading();
  },
);

test("one that changes nothing of the containers replaces none; its settings are complete", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  await world.advance(6_000);
  const planned = preview(world, () => undefined, "");
  expect(numbers(planned)).toEqual({ replaced: [], moved: [], added: [], removed: [], kept: 2 });
  expect(planned).toMatchObject({ batches: 0, leastMs: 0 });
  expect(planned.settings).toMatchObject({
    parallelism: 1,
    order: Order.STOP_FIRST,
    failureAction: Action.PAUSE,
    monitorMs: 5_000,
    progressDeadlineMs: 600_000,
  });
  await world.stopLeading();
});

test("replicas that come and go, and tasks whose node no longer meets a constraint", async () => {
  const world = await SimulatedCluster.start(1);
  await world.create("web", 2);
  await world.advance(6_000);
  const scaled = (replicas: number): object =>
    numbers(preview(world, (spec) => void (spec.mode = { $case: "replicated", value: { replicas } }), ""));
  expect(scaled(4)).toEqual({ replaced: [], moved: [], added: [3, 4], removed: [], kept: 2 });
  expect(scaled(1)).toEqual({ replaced: [], moved: [], added: [], removed: [2], kept: 1 });
  const placed = preview(
    world,
    (spec) => void (spec.task!.placement = { constraints: ["node.labels.zone == north"], maxReplicasPerNode: 0 }),
    "",
  );
  expect(numbers(placed)).toEqual({ replaced: [], moved: [1, 2], added: [], removed: [], kept: 0 });
  await world.stopLeading();
});
