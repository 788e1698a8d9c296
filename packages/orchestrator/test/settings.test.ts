import {
  Service,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
  UpdateStatus_State as State,
  Version,
  type Slot,
  type Task,
} from "@warren/api";
import { describe, expect, test } from "vitest";
import { isRollingBack, rollbackTarget, rollbackTo, settingsOf, withVersion } from "../src/settings.ts";
import { planService } from "../src/service-plan.ts";
import { seededRandom } from "@warren/std/testing";

/** What a user or the orchestrator does to a service between two looks at it. */
type Edit = "label" | "image" | "placement" | "completes" | "fails" | "user rolls back";
const edits: readonly Edit[] = ["label", "image", "placement", "completes", "fails", "user rolls back"];

/** What should be true, kept by hand beside the stored state. */
interface Expected {
  /** Versions that completed, the latest first. */
  completed: string[];
  wanted: string;
  rollsBack: boolean;
}

function first(): { service: Service; expected: Expected } {
  const service = Service.create({
    meta: { id: "web" },
    spec: {
      name: "web",
      task: { container: { image: "v1" } },
      update: { order: Order.STOP_FIRST, failureAction: Action.ROLLBACK },
      rollback: { order: Order.START_FIRST },
    },
    versionId: "v1",
    lastVersionNumber: 1,
    recentVersionIds: ["v1"],
    completedVersionIds: ["v1"],
  });
  return { service, expected: { completed: ["v1"], wanted: "v1", rollsBack: false } };
}

function apply(service: Service, edit: Edit, expected: Expected): Service {
  switch (edit) {
    case "label":
      return {
        ...service,
        specVersion: service.specVersion + 1,
        spec: { ...service.spec!, labels: { tier: "front" } },
      };
    case "image":
    case "placement": {
      const number = service.lastVersionNumber + 1;
      const id = `v${number}`;
      expected.wanted = id;
      expected.rollsBack = false;
      return {
        ...service,
        versionId: id,
        lastVersionNumber: number,
        recentVersionIds: withVersion(service.recentVersionIds, id),
      };
    }
    case "completes": {
      const state = expected.rollsBack ? State.ROLLED_BACK : State.COMPLETED;
      expected.completed = [expected.wanted, ...expected.completed.filter((id) => id !== expected.wanted)].slice(0, 10);
      const { rollsBack } = expected;
      expected.rollsBack = false;
      return {
        ...service,
        completedVersionIds: withVersion(service.completedVersionIds, service.versionId),
        updateStatus: status(service, state, rollsBack),
      };
    }
    case "fails": {
      const target = rollbackTarget(service);
      if (target === undefined || expected.rollsBack)
        return {
          ...service,
          updateStatus: status(service, expected.rollsBack ? State.ROLLBACK_PAUSED : State.PAUSED, expected.rollsBack),
        };
      expected.wanted = target;
      expected.rollsBack = true;
      return { ...service, ...rollbackTo(service, Version.create({ meta: { id: target } }), "", 0, 1) };
    }
    case "user rolls back": {
      const target = rollbackTarget(service);
      if (target === undefined) return service;
      expected.wanted = target;
      expected.rollsBack = true;
      return { ...service, ...rollbackTo(service, Version.create({ meta: { id: target } }), "", 0, 0) };
    }
  }
}

function status(service: Service, state: State, rollback: boolean): Service["updateStatus"] {
  return {
    state,
    startedAt: undefined,
    completedAt: undefined,
    message: "",
    versionId: service.versionId,
    fromVersionId: "",
    rollback,
    blocked: "",
    progressAt: undefined,
    sinceIndex: 1,
    cause: "",
    failedSlot: undefined,
    failedEnd: undefined,
  };
}

describe("which version and which settings hold, after each sequence of three edits", () => {
  const sequences = edits.flatMap((a) => edits.flatMap((b) => edits.map((c) => [a, b, c] as const)));

  test.each(sequences)("%s, %s, %s", (...sequence) => {
    let { service } = first();
    const { expected } = first();
    for (const edit of sequence) {
      service = apply(service, edit, expected);
      expect(service.versionId).toBe(expected.wanted);
      // A rollback returns to the last version that completed, whatever was edited since, and never to the wanted one.
      expect(rollbackTarget(service)).toBe(expected.completed.find((id) => id !== expected.wanted));
      // `rollback` holds while one is under way or paused; once it is over, drains go by `update` again.
      expect(isRollingBack(service)).toBe(expected.rollsBack);
      expect(settingsOf(service)!.order).toBe(expected.rollsBack ? Order.START_FIRST : Order.STOP_FIRST);
    }
  });
});

test("a pass over a service whose version is not there changes nothing", () => {
  const { service } = first();
  const plan = planService({
    serviceId: "web",
    service,
    addressRests: false,
    versions: [],
    slots: [] as Slot[],
    tasks: [] as Task[],
    nodeOf: () => undefined,
    roleOf: () => "worker",
    endpoint: { kind: "short", reason: "none" },
    history: 5,
    downGraceMs: 0,
    budget: 10,
    at: { now: 0, steadyMs: 0, sinceStepMs: 0 },
    epoch: { reign: 1, index: 1 },
    random: seededRandom(1),
  });
  expect(plan.size).toBe(0);
});
