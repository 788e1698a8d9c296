import { ServiceSpec, TaskSpec, type Service, type Version } from "@warren/api";
import { StoreError, type Transaction } from "@warren/store";
import { expect, test, vi } from "vitest";

import { createVersion } from "../src/versions.ts";
import { control, failure, faults, web } from "./fixture.ts";

vi.mock(import("@warren/api/model"), async (original) => ({ ...(await original()), level: 2 as 1 }));

test("L20: a version needs the level of what it says, not that of the program that makes it", () => {
  const made: Version[] = [];
  const create = (_: string, version: Version): string => {
    made.push(version);
    return "v";
  };
  const task = TaskSpec.fromPartial({ container: { image: "nginx" } });
  createVersion({ create } as unknown as Transaction, {
    serviceId: "s",
    number: 1,
    task,
    imageDigest: "",
    before: undefined,
  });
  expect(made).toMatchObject([{ level: 1 }]);
});

/** Field 700, which this program does not know. */
const later = { _unknownFields: { [(700 << 3) | 2]: [Uint8Array.of(1, 7)] } };

test("a spec with fields of a later level is refused, and they are named, since it would be stored without them", async () => {
  const { client, store } = await control();
  const spec = ServiceSpec.fromPartial(web());
  const container = { ...spec.task!.container!, ...later };
  const asked = { ...spec, ...later, task: { ...spec.task!, container } };
  expect(await faults(client.services.create({ spec: asked }))).toEqual(["spec.task.container", "spec"]);
  await client.services.create({ spec });
  await expect(client.services.update({ ref: "web", spec: asked })).rejects.toThrow(
    "has a field 700 that this manager does not know: use the client of its version, or upgrade the managers",
  );
  expect(await faults(client.networks.create({ spec: { name: "blue", labels: {}, ...later } }))).toEqual(["spec"]);
  expect(store.view().list("services")).toMatchObject([{ specVersion: 1 }]);
});

test("a service that is scaled keeps what a later program put into its mode", async () => {
  const { client, store } = await control();
  const { meta } = await client.services.create({ spec: web() });
  const stored = (): Service => store.view().resolve("services", meta!.id);
  await store.update((tx) => {
    const { spec, ...service } = tx.resolve("services", meta!.id);
    const mode = { $case: "replicated" as const, value: { replicas: 1, ...later } };
    tx.update("services", { ...service, spec: { ...spec!, mode } });
  });
  await client.services.scale({ ref: "web", replicas: 3 });
  expect(stored().spec?.mode?.value).toMatchObject({ replicas: 3, ...later });
});

test("what needs a higher level is refused with the managers that hold it back, not as a fault of the program", async () => {
  const { client, store } = await control();
  const text = "this needs level 2 and the cluster's level is 1; held back by host-2 (level 1): upgrade it";
  const heldBack = new StoreError({ code: "STORE_LEVEL_HELD_BACK", needed: 2, active: 1, managers: ["m2"] }, text);
  vi.spyOn(store, "update").mockRejectedValueOnce(heldBack);
  const error = await failure(client.networks.create({ spec: { name: "blue" } }));
  expect(error).toMatchObject({ code: "API_PRECONDITION", reason: "STORE_LEVEL_HELD_BACK", message: text });
});
