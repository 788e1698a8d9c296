/**
 * What managers of one cluster answer while one of them is cut off: real members of Raft on a network in memory, each
 * with its store, the users' services and a pipeline. Time passes only where a test has it pass.
 */
import { setImmediate as turn } from "node:timers/promises";
import {
  ApiError,
  CreateNetworkRequest,
  DeleteNetworkRequest,
  GetNetworkRequest,
  ListNetworksRequest,
  Network,
  UpdateServiceRequest,
  WatchRequest,
  WatchResponse,
  type MessageType,
} from "@warren/api";
import { createPipeline, pipelineConnection, type Identity, type Peer, type Pipeline } from "@warren/api/server";
import { checkClusterSpec } from "@warren/api/spec";
import { controlServices, createCluster, type Relay } from "@warren/control";
import { leadershipOf, whileLeading, type Member } from "@warren/membership";
import { memoryDisk, MemoryNetwork, openLogStorage, startRaftNode, type RaftNode } from "@warren/raft";
import { silentLogger, type Random } from "@warren/std";
import { FakeClock, seededRandom } from "@warren/std/testing";
import { raftProposer, Store, StoreStateMachine } from "@warren/store";
import { expect, onTestFinished, test } from "vitest";

const ids = [1, 2, 3];
const tickMs = 10;
const operator: Identity = { name: "ann", roles: ["client"] };
const log = silentLogger;

function peerOf(identity: Identity): Peer {
  return { address: identity.name, local: false, identify: () => identity, confirm: () => undefined };
}

/** No node has a session. */
const relay: Relay = {
  logs: () => unreachable(),
  exec: () => unreachable(),
  stats: () => unreachable(),
  image: () => unreachable(),
};
function unreachable(): never {
  throw new ApiError({ code: "API_UNAVAILABLE" }, "no node has a session");
}

class Manager {
  readonly node: RaftNode;
  readonly store: Store;
  readonly pipeline: Pipeline;

  constructor(group: Group, node: RaftNode, machine: StoreStateMachine) {
    const { clock, random } = group;
    this.node = node;
    this.store = new Store({ clock, random, machine, proposer: raftProposer(node) });
    const { store } = this;
    const initCluster = (): never => expect.unreachable("the cluster is there");
    const services = controlServices({ store: () => store, initCluster, relay, version: "1", clock, random });
    const member: Member<undefined> = {
      clusterId: "c",
      managerId: `m${node.id}`,
      store,
      work: undefined,
      hasLeader: () => node.leadership().leader !== undefined,
      led: Promise.resolve(),
      ended: node.done,
    };
    const { barrier } = leadershipOf({ part: { kind: "member", member } });
    this.pipeline = createPipeline({
      services,
      clock,
      random,
      leadership: {
        barrier,
        route: () => {
          const { leader, isLeader } = node.leadership();
          if (isLeader) return { kind: "here" };
          const to = group.managers.find((each) => each.node.id === leader);
          if (to === undefined) return { kind: "nobody", why: "an election is under way" };
          const self = peerOf({ name: `m${node.id}`, roles: ["manager"] });
          return { kind: "leader", connection: pipelineConnection(to.pipeline, self) };
        },
      },
    });
  }

  /** The responses of a call of an operator. */
  call<T>(path: string, request: Uint8Array, response: MessageType<T>, { stale = false } = {}): AsyncIterable<T> {
    const answer = this.pipeline.call({
      path: `/warren.v1.${path}`,
      peer: peerOf(operator),
      requests: once(request),
      metadata: (key) => (stale && key === "warren-read" ? "stale" : undefined),
      signal: new AbortController().signal,
    });
    return decoded(answer.messages, response);
  }

  async get(ref: string, options = {}): Promise<string> {
    const request = bytesOf(GetNetworkRequest, { ref });
    const [network] = await Array.fromAsync(this.call("Networks/Get", request, Network, options));
    return network?.spec?.name ?? "";
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

async function* decoded<T>(messages: AsyncIterable<Uint8Array>, type: MessageType<T>): AsyncGenerator<T, void, void> {
  for await (const bytes of messages) yield type.decode(bytes);
}

function bytesOf<T>(type: MessageType<T>, value: object): Uint8Array {
  return type.encode(type.fromPartial(value as never)).finish();
}

class Group {
  readonly clock: FakeClock = new FakeClock();
  readonly random: Random = seededRandom(1);
  readonly network = new MemoryNetwork();
  readonly managers: Manager[] = [];

  static async start(): Promise<Group> {
    const group = new Group();
    for (const id of ids) {
      const incarnation = `m${id}`;
      const identity = { clusterId: "c", nodeId: id, newIncarnation: () => incarnation };
      const storage = await openLogStorage(memoryDisk(), identity);
      const machine = new StoreStateMachine();
      const { clock, random } = group;
      const node = await startRaftNode(
        { clock, random, storage, transport: group.network.transport(), fsm: machine },
        { bootstrap: ids.map((each) => ({ id: each, address: `m${each}` })), tickMs: 0, stallMs: 2 ** 40 },
      );
      onTestFinished(() => node.close());
      const manager = new Manager(group, node, machine);
      group.managers.push(manager);
      const { store } = manager;
      const onLeaderTerm: RaftNode["onLeaderTerm"] = (listener) => node.onLeaderTerm(listener);
      const work = { [Symbol.asyncDispose]: async () => undefined };
      const leading = whileLeading({ onLeaderTerm, store, clock, random, log }, () => work);
      onTestFinished(() => leading[Symbol.asyncDispose]());
    }
    return group;
  }

  /** A manager whose term has begun, other than `before`. */
  leader(before?: Manager): Manager | undefined {
    return this.managers.find((each) => each !== before && each.store.term !== undefined);
  }

  cutOff(manager: Manager): void {
    const { id } = manager.node;
    this.network.reaches = (from, to) => from !== id && to !== id;
  }

  heal(): void {
    this.network.reaches = () => true;
  }

  /** Ticks of the managers, all by default, until `condition` holds. */
  async until<T>(
    what: string,
    condition: () => T | undefined | false,
    some: readonly Manager[] = this.managers,
  ): Promise<T> {
    for (let step = 0; step < 10_000; step++) {
      const found = condition();
      if (found !== undefined && found !== false) return found;
      await turn();
      if (step % 4 !== 0) continue;
      this.clock.advance(tickMs);
      for (const { node } of some) node.tick();
    }
    throw new Error(`the condition is not met: ${what}`);
  }

  /** What becomes of `work` while time passes. */
  async settled<T>(work: Promise<T>, some?: readonly Manager[]): Promise<T> {
    let done = false;
    const end = (): void => void (done = true);
    work.then(end, end);
    await this.until("the call ends", () => done, some);
    return work;
  }
}

/**
 * A group whose first leader is cut off and does not know it, while the next has acknowledged that network `old` is gone
 * and `new` is there.
 */
async function deposed(): Promise<{ readonly group: Group; readonly old: Manager; readonly next: Manager }> {
  const group = await Group.start();
  const old = await group.until("one leads", () => group.leader());
  await group.settled(createCluster(old.store, checkClusterSpec(undefined), { id: "c" }));
  const create = (manager: Manager, name: string): Promise<unknown> =>
    group.settled(
      Array.fromAsync(manager.call("Networks/Create", bytesOf(CreateNetworkRequest, { spec: { name } }), Network)),
      group.managers.filter((each) => each === manager || each !== old),
    );
  await create(old, "old");
  group.cutOff(old);
  const others = group.managers.filter((each) => each !== old);
  const next = await group.until("another leads", () => group.leader(old), others);
  await create(next, "new");
  const gone = next.call("Networks/Delete", bytesOf(DeleteNetworkRequest, { ref: "old" }), Network);
  await group.settled(Array.fromAsync(gone), others);
  expect(old.node.leadership().isLeader).toBe(true);
  expect(old.store.view().find("networks", "name", "old")).toHaveLength(1);
  return { group, old, next };
}

const calls: readonly (readonly [string, (manager: Manager) => AsyncIterable<unknown>])[] = [
  [
    "a read of what is gone",
    (manager) => manager.call("Networks/Get", bytesOf(GetNetworkRequest, { ref: "old" }), Network),
  ],
  [
    "a read of what it does not know of",
    (manager) => manager.call("Networks/Get", bytesOf(GetNetworkRequest, { ref: "new" }), Network),
  ],
  ["a list", (manager) => manager.call("Networks/List", bytesOf(ListNetworksRequest, {}), Network)],
  ["a watch", (manager) => manager.call("Events/Watch", bytesOf(WatchRequest, {}), WatchResponse)],
  [
    "a deletion that it would refuse",
    (manager) => manager.call("Networks/Delete", bytesOf(DeleteNetworkRequest, { ref: "new" }), Network),
  ],
  [
    "a creation that it would refuse",
    (manager) => manager.call("Networks/Create", bytesOf(CreateNetworkRequest, { spec: { name: "old" } }), Network),
  ],
  [
    "an update of what it does not know of",
    (manager) =>
      manager.call(
        "Services/Update",
        bytesOf(UpdateServiceRequest, { ref: "web", spec: { name: "web", task: { container: { image: "nginx" } } } }),
        Network,
      ),
  ],
];

test.each(calls)(
  "a leader that was deposed and does not know it does not answer from its old state: %s",
  async (_, call) => {
    const { group, old } = await deposed();
    const answers = Array.fromAsync(call(old));
    const error: unknown = await group.settled(answers).then(
      (found) => found,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: "STORE_UNAVAILABLE" });
  },
);

test("a call that it holds when it is reached again is answered from the current state", async () => {
  const { group, old } = await deposed();
  const held = [old.get("old"), old.get("new")].map((each) => each.catch((error: ApiError) => error.code));
  await turn();
  group.heal();
  expect(await group.settled(Promise.all(held))).toEqual(["API_NOT_FOUND", "new"]);
});

test("it answers from its old state where the caller accepts that, and forwards once it knows", async () => {
  const { group, old, next } = await deposed();
  expect(await old.get("old", { stale: true })).toBe("old");
  group.heal();
  await group.until("it follows", () => old.node.leadership().leader === next.node.id);
  expect(await group.settled(old.get("new"))).toBe("new");
});
