import { describe, expect, it } from "vitest";
import { storedThings } from "./fake-relay.ts";
import { addNode, control, failure, faults, type Control } from "./fixture.ts";

/** Nodes a and b, which hold these volumes; node c has no session. */
async function nodes(held: { readonly a: readonly string[]; readonly b: readonly string[] }) {
  const world = await control();
  const [a, b, c] = [await addNode(world, "a"), await addNode(world, "b"), await addNode(world, "c")];
  const volumes = { a: new Set(held.a), b: new Set(held.b) };
  world.relay.stores.set(a, storedThings(a, { volumes: volumes.a }));
  world.relay.stores.set(b, storedThings(b, { volumes: volumes.b }));
  return { world, a, b, c, volumes };
}

const found = ({ volumes }: Awaited<ReturnType<Control["client"]["volumes"]["list"]>>): string[] =>
  volumes.map(({ name }) => name);

describe("volumes", () => {
  it("are listed of all nodes, of some, and by name, with the nodes that don't answer", async () => {
    const { world, a, b, c } = await nodes({ a: ["db", "web"], b: ["db"] });
    const { client } = world;
    const all = await client.volumes.list({});
    expect(all.volumes.map(({ name, nodeId }) => [name, nodeId])).toEqual([
      ...[a, b].sort().map((id) => ["db", id]),
      ["web", a],
    ]);
    expect(all.unreachableNodes).toEqual([c]);
    expect(found(await client.volumes.list({ nodes: ["b"] }))).toEqual(["db"]);
    expect(found(await client.volumes.list({ names: ["web"] }))).toEqual(["web"]);
    expect((await failure(client.volumes.list({ nodes: ["nix"] }))).code).toBe("API_NOT_FOUND");
  });

  it("are deleted on the node that is named, or on the only one that can have it", async () => {
    const { world, b, c, volumes } = await nodes({ a: ["db", "web"], b: ["db"] });
    const { client, store } = world;
    const unclear = await failure(client.volumes.delete({ name: "db" }));
    expect(unclear.code).toBe("API_PRECONDITION");
    expect(unclear.message).toContain("it is on a, b, and c can't be asked");
    expect(unclear.remedy).toBe("say of which node: warren volume delete db --node NODE");
    expect(await client.volumes.delete({ name: "db", node: "b" })).toEqual({ nodeId: b });
    expect(volumes.b).toEqual(new Set());
    // Node c may have it, too.
    expect((await failure(client.volumes.delete({ name: "web" }))).code).toBe("API_PRECONDITION");
    await store.update((tx) => tx.delete("nodes", c));
    await client.volumes.delete({ name: "web" });
    expect(found(await client.volumes.list({}))).toEqual(["db"]);
    expect((await failure(client.volumes.delete({ name: "web" }))).code).toBe("API_NOT_FOUND");
    expect(await faults(client.volumes.delete({ name: "" }))).toEqual(["name"]);
  });
});

it("a node that speaks of another node's volumes and images is believed of its own alone", async () => {
  const { world, a, b, c, volumes } = await nodes({ a: ["db"], b: [] });
  const { client, relay, store } = world;
  await store.update((tx) => tx.delete("nodes", c));
  const lies = storedThings("nobody", { volumes: volumes.a, images: new Set(["old:1"]), unused: new Set(["old:1"]) });
  relay.stores.set(a, lies);
  relay.stores.set(b, storedThings(b, {}));
  expect((await client.volumes.list({})).volumes.map(({ nodeId }) => nodeId)).toEqual([a]);
  expect((await client.images.list({})).images.map(({ nodeId }) => nodeId)).toEqual([a]);
  expect((await client.images.prune({})).images.map(({ nodeId }) => nodeId)).toEqual([a]);
  expect(await client.volumes.delete({ name: "db" })).toEqual({ nodeId: a });
});

describe("images", () => {
  it("are listed, and those that nothing uses removed, of all nodes or of some", async () => {
    const { world, a, b, c } = await nodes({ a: [], b: [] });
    const { client, relay } = world;
    const unused = new Set(["old:1"]);
    const ofB = new Set(["old:1"]);
    relay.stores.set(a, storedThings(a, { images: new Set(["docker.io/library/nginx:1", "old:1"]), unused }));
    relay.stores.set(b, storedThings(b, { images: ofB, unused }));
    const all = await client.images.list({});
    expect(all.images.map(({ ref, nodeId }) => [ref, nodeId])).toEqual([
      ["docker.io/library/nginx:1", a],
      ...[a, b].sort().map((id) => ["old:1", id]),
    ]);
    expect(all.unreachableNodes).toEqual([c]);
    expect((await client.images.prune({ nodes: ["a"] })).images.map(({ ref }) => ref)).toEqual(["old:1"]);
    expect(ofB).toEqual(new Set(["old:1"]));
    expect(await client.images.prune({})).toMatchObject({
      images: [{ ref: "old:1", nodeId: b }],
      unreachableNodes: [c],
    });
  });
});
