import { ObjectKind, TaskState, type Event, type Network, type WatchResponse } from "@warren/api";
import { limits } from "@warren/control";
import { until } from "@warren/std/testing";
import { slotKeyText } from "@warren/api/model";
import { describe, expect, it } from "vitest";
import { addNode, addTask, control, failure, faults, web } from "./fixture.ts";

const words = ({ objectName, action }: Event): string => `${objectName} ${action}`;

/** The next answer; a stream that is over fails the test. */
async function next<T>(iterator: AsyncIterator<T>): Promise<T> {
  const { done, value } = await iterator.next();
  if (done === true) throw new Error("the stream is over");
  return value;
}

function text({ message }: WatchResponse): string {
  if (message?.$case !== "change") return message?.$case ?? "nothing";
  const { object, deleted } = message.value;
  const name =
    object?.$case === "service" || object?.$case === "network"
      ? object.value.spec?.name
      : object?.$case === "task"
        ? slotKeyText(object.value.slot)
        : object?.value.description?.hostname;
  return `${object?.$case} ${name}${deleted ? " deleted" : ""}`;
}

describe("events", () => {
  it("are listed in order, in parts, from a time, and of one object, even of one that is gone", async () => {
    const { client } = await control();
    await client.networks.create({ spec: { name: "blue" } });
    await client.services.create({ spec: web() });
    await client.services.scale({ ref: "web", replicas: 2 });
    const blue = await client.networks.get({ ref: "blue" });
    await client.networks.delete({ ref: "blue" });
    const { events } = await client.events.list({});
    expect(events.slice(1).map(words)).toEqual(["blue created", "web created", "web scaled", "blue deleted"]);
    expect((await client.events.list({ ref: "blue" })).events.map(words)).toEqual(["blue created", "blue deleted"]);
    expect((await client.events.list({ ref: blue.meta?.id.slice(0, 9) ?? "" })).events).toHaveLength(2);
    expect((await client.events.list({ since: new Date(Date.now() + 60_000) })).events).toEqual([]);
    const first = await client.events.list({ page: { size: 2 } });
    const rest = await client.events.list({ page: { token: first.nextPageToken } });
    expect([...first.events, ...rest.events]).toEqual(events);
  });

  it("are followed from now on, or from a time on, until the caller goes", async () => {
    const { client, machine } = await control();
    await client.services.create({ spec: web() });
    const past = client.events.follow({ since: new Date(0), ref: "web" })[Symbol.asyncIterator]();
    expect(words(await next(past))).toBe("web created");
    const now = client.events.follow({})[Symbol.asyncIterator]();
    const first = next(now);
    // Nothing tells that it has begun; so something happens until it is told.
    let replicas = 1;
    let told: Event | undefined;
    void first.then((event) => (told = event));
    await until("the event was told", async () => {
      await client.services.scale({ ref: "web", replicas: ++replicas });
      return told;
    });
    expect(words(await first)).toBe("web scaled");
    expect(words(await next(past))).toBe("web scaled");
    await past.return?.();
    await now.return?.();
    void machine;
  });
});

describe("watch", () => {
  it("tells what is there, then that it is all, then each change", async () => {
    const world = await control();
    const { client, store } = world;
    await addNode(world, "a");
    await client.services.create({ spec: web() });
    const watch = client.events.watch({})[Symbol.asyncIterator]();
    const initial: string[] = [];
    for (;;) {
      const answer = text(await next(watch));
      if (answer === "synced") break;
      initial.push(answer);
    }
    expect(initial.sort()).toEqual(["network default", "node a", "service web"]);
    const version = store.view().version;
    await client.networks.create({ spec: { name: "blue" } });
    await client.networks.delete({ ref: "blue" });
    const made = await next(watch);
    expect(text(made)).toBe("network blue");
    expect(made.message?.$case === "change" && made.message.value.version).toBeGreaterThan(version);
    expect(text(await next(watch))).toBe("network blue deleted");
    await watch.return?.();
  });

  it("of a service tells only it and its tasks, with its summary", async () => {
    const world = await control();
    const { client } = world;
    const service = await client.services.create({ spec: web() });
    await client.services.create({ spec: web({ name: "other" }) });
    const watch = client.events.watch({ service: "web" })[Symbol.asyncIterator]();
    const first = await next(watch);
    expect(first.message).toMatchObject({ value: { object: { value: { summary: { desired: 1 } } } } });
    expect(text(await next(watch))).toBe("synced");
    await client.services.scale({ ref: "other", replicas: 3 });
    const status = { state: TaskState.RUNNING };
    await addTask(world, { serviceId: service.meta?.id ?? "", slot: 5, status });
    await client.services.scale({ ref: "web", replicas: 3 });
    const later = [await next(watch), await next(watch), await next(watch)];
    // Once for itself, and once for its slot's lease.
    expect(later.map(text)).toEqual(["task 5", "task 5", "service web"]);
    expect(later[2]?.message).toMatchObject({ value: { object: { value: { summary: { desired: 3, running: 1 } } } } });
    await watch.return?.();
  });

  it(
    "ends a reader that is too slow, with what to do, and holds no more for it than it may",
    { timeout: 30_000 },
    async () => {
      const { client, store } = await control();
      const watch = client.events.watch({ kinds: [ObjectKind.NETWORK] })[Symbol.asyncIterator]();
      expect(text(await next(watch))).toBe("network default");
      expect(text(await next(watch))).toBe("synced");
      const label = "x".repeat(4_000);
      for (let i = 0; i < limits.watchBatches + 2_000; i += 1) {
        await store.update((tx) => {
          const [network] = tx.find("networks", "name", "default") as [Network];
          tx.update("networks", { ...network, spec: { name: "default", labels: { label, i: String(i) } } });
        });
      }
      let told = 0;
      const error = await failure(
        (async () => {
          for (;;) told += (await next(watch)) === undefined ? 0 : 1;
        })(),
      );
      expect(error).toMatchObject({ code: "API_EXHAUSTED", remedy: "start over from what there is now" });
      expect(told).toBeLessThan(2_000);
    },
  );

  it("of kinds tells only these, and refuses others", async () => {
    const world = await control();
    const { client } = world;
    await addNode(world, "a");
    const watch = client.events.watch({ kinds: [ObjectKind.NODE, ObjectKind.NODE] })[Symbol.asyncIterator]();
    expect(text(await next(watch))).toBe("node a");
    expect(text(await next(watch))).toBe("synced");
    await watch.return?.();
    const read = (request: Parameters<typeof client.events.watch>[0]): Promise<unknown> =>
      Array.fromAsync(client.events.watch(request));
    expect(await faults(read({ kinds: [ObjectKind.NODE, ObjectKind.CLUSTER] }))).toEqual(["kinds[1]"]);
    expect((await failure(read({ service: "no-such" }))).code).toBe("API_NOT_FOUND");
  });
});
