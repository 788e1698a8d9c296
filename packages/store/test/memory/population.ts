/** A cluster at its size: services with a version each, and slots that each have one held lease and its running task. */
import { Health, LeaseState, Node, Service, Slot, Task, TaskState, TaskStatus, Version } from "@warren/api";
import { firstRun, numberedSlot, slotIdOf, taskIdOf } from "@warren/api/model";
import { seededRandom } from "@warren/std/testing";
import { newId } from "@warren/std";

import { encodeCommand, encodeReign, type Write } from "../../src/command.ts";
import { schema } from "../../src/schema.ts";
import { StoreStateMachine } from "../../src/index.ts";

export interface Population {
  readonly services: number;
  readonly slotsPerService: number;
  readonly nodes: number;
}

const term = 1;
const reign = 2 ** 47 + 12_345;
const startedMs = Date.UTC(2026, 0, 1);

/** A state machine that has applied all of it, command by command, as a manager has. */
export function populated({ services, slotsPerService, nodes }: Population): StoreStateMachine {
  const machine = new StoreStateMachine();
  const random = seededRandom(1);
  const nodeIds = Array.from({ length: nodes }, () => newId(random));
  const head = { schema, level: 1, term, reign };
  let index = 1;
  const apply = (writes: readonly Write[]): void => {
    const at = new Date(startedMs + index * 250);
    const data = encodeCommand({ ...head, at, base: index - 1 }, writes);
    machine.apply([{ index, term, data }]);
    index += 1;
  };
  machine.apply([{ index: 1, term, data: encodeReign({ ...head, at: new Date(startedMs), base: 0 }) }]);
  index = 2;
  const create = (table: Write["table"], object: Write["object"]): Write => ({
    kind: "create",
    table,
    object,
    expectedVersion: 0,
  });
  const node = (id: string, at: number): Node =>
    Node.create({
      meta: { id },
      description: { hostname: `edge-${at}`, os: "linux", architecture: "amd64", memoryBytes: 2 ** 33 },
      status: { state: 2 },
      subnet: `10.64.${at}.0/26`,
    });
  apply(nodeIds.map((id, at) => create("nodes", node(id, at))));
  for (let s = 0; s < services; s++) {
    const id = newId(random);
    const name = `service-${s}`;
    const spec = {
      container: {
        image: `registry.edge.example/team/service:1.${s % 40}`,
        env: { LOG_LEVEL: "info", PORT: "8080", REGION: "north" },
        labels: { tier: "front" },
      },
      resources: { memoryLimitBytes: 2 ** 28, cpuLimitNanos: 5e8 },
      restart: { delayMs: 5_000 },
    };
    const version = Version.create({
      meta: { id: newId(random) },
      serviceId: id,
      number: 1,
      task: spec,
      networks: ["default-network"],
      level: 1,
      make: "0123456789abcdef0123456789abcdef",
    });
    const versionId = version.meta?.id ?? "";
    const service = Service.create({
      meta: { id },
      spec: { name, task: spec, mode: { $case: "replicated", value: { replicas: slotsPerService } } },
      specVersion: 1,
      versionId,
      lastVersionNumber: 1,
      recentVersionIds: [versionId],
      completedVersionIds: [versionId],
      endpoint: { vip: `10.96.${s >> 8}.${s & 255}`, ports: [{ target: 80, published: 30_000 + s }] },
    });
    apply([create("services", service), create("versions", version)]);
    const epoch = { reign, index: index - 1 };
    const slots = Array.from({ length: slotsPerService }, (_, at) => {
      const key = numberedSlot(at + 1);
      const slotId = slotIdOf(id, key);
      const nodeId = nodeIds[(s * slotsPerService + at) % nodes] as string;
      const place = s * slotsPerService + at;
      const address = `10.64.${place >> 8}.${place & 255}`;
      return { key, slotId, nodeId, address, taskId: taskIdOf(slotId, epoch, firstRun) };
    });
    const since = new Date(startedMs + index * 250);
    const taskOf = ({ key, slotId, nodeId, taskId }: (typeof slots)[number], status: TaskStatus): Task =>
      Task.create({
        meta: { id: taskId },
        serviceId: id,
        serviceName: name,
        slotId,
        slot: key,
        epoch,
        run: 1,
        nodeId,
        versionId,
        status,
      });
    const assigned = TaskStatus.create({ state: TaskState.ASSIGNED, at: since });
    apply(
      slots.flatMap((each) => [
        create(
          "slots",
          Slot.create({
            meta: { id: each.slotId },
            serviceId: id,
            serviceName: name,
            key: each.key,
            wanted: true,
            leases: [
              {
                epoch,
                versionId,
                state: LeaseState.HELD,
                nodeId: each.nodeId,
                address: each.address,
                wasHeld: true,
                record: { runs: 1, bootId: "5f0c8f5e-8f9a-4a39-9d4b-2f1f5a2f0b11", bootMs: 81_234 },
                since,
                cause: "the slot is new",
              },
            ],
          }),
        ),
        create("tasks", taskOf(each, assigned)),
      ]),
    );
    // Each by its node's clock.
    apply(
      slots.map((each, at) => {
        const startedAt = new Date(startedMs + index * 250 + at * 17 + 3);
        const status = TaskStatus.create({
          state: TaskState.RUNNING,
          at: new Date(startedAt.getTime() + 5),
          container: {
            containerId: each.taskId,
            pid: 1_000 + s * slotsPerService + at,
            address: each.address,
            startedAt,
            imageDigest: `sha256:${String(s % 40).padStart(64, "0")}`,
            health: Health.HEALTHY,
          },
        });
        return { kind: "update", table: "tasks", object: taskOf(each, status), expectedVersion: index - 1 };
      }),
    );
  }
  return machine;
}
