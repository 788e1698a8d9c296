import { Network, Service, ServiceSpec, type RegistryCredential } from "@warren/api";
import { limits } from "@warren/control";
import { expect, it } from "vitest";
import { control, failure, web } from "./fixture.ts";

it(
  "a cluster takes so many services, networks and registries, and says so when it has them",
  { timeout: 30_000 },
  async () => {
    const { client, store } = await control();
    const spec = ServiceSpec.fromPartial(web());
    const writes: Promise<unknown>[] = [];
    for (let i = 0; i < limits.services; i += 1)
      writes.push(
        store.update((tx) => tx.create("services", Service.fromPartial({ spec: { ...spec, name: `s${i}` } }))),
      );
    for (let i = 1; i < limits.networks; i += 1)
      writes.push(store.update((tx) => tx.create("networks", Network.fromPartial({ spec: { name: `n${i}` } }))));
    for (let i = 0; i < limits.registries; i += 1) {
      const credential: RegistryCredential = { meta: undefined, registry: `r${i}`, auth: undefined };
      writes.push(store.update((tx) => tx.create("registries", credential)));
    }
    await Promise.all(writes);
    const auth = { username: "u", password: "p" };
    for (const call of [
      client.services.create({ spec: web() }),
      client.networks.create({ spec: { name: "one-more" } }),
      client.registries.login({ registry: "one-more", auth }),
    ]) {
      const error = await failure(call);
      expect(error).toMatchObject({ code: "API_EXHAUSTED", remedy: "delete some first" });
      expect(error.message).toMatch(/10,000|1,000/);
    }
    await client.registries.login({ registry: "r1", auth });
  },
);
