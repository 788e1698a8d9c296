/**
 * Managers of one cluster: real members of Raft on a network in memory, each with the parts of a manager and a pipeline.
 * Time passes only where a test has it pass.
 */
import { setImmediate as turn } from "node:timers/promises";
import { DispatcherDefinition, type MessageType } from "@warren/api";
import { bind, createPipeline, pipelineConnection, type Identity, type Peer, type Pipeline } from "@warren/api/server";
import { controlServices } from "@warren/control";
import { leadershipOf, whileLeading, type LeaderWork, type Member } from "@warren/membership";
import { memoryDisk, MemoryNetwork, openLogStorage, startRaftNode, type RaftNode } from "@warren/raft";
import { noMetrics, silentLogger, type Random } from "@warren/std";
import { FakeClock, seededRandom } from "@warren/std/testing";
import { raftProposer, Store, StoreStateMachine } from "@warren/store";
import { expect, onTestFinished } from "vitest";

import { joinParts } from "../src/parts.ts";

const ids = [1, 2, 3];
const tickMs = 10;
export const operator: Identity = { name: "ann", roles: ["client"] };
const log = silentLogger;

function peerOf(identity: Identity): Peer {
  return { address: identity.name, local: false, identify: () => identity, confirm: () => undefined };
}

export class Manager {
  readonly node: RaftNode;
  readonly store: Store;
  readonly pipeline: Pipeline;
  readonly lead: LeaderWork;

  constructor(group: Group, node: RaftNode, machine: StoreStateMachine) {
    const { clock, random } = group;
    this.node = node;
    this.store = new Store({ clock, random, machine, proposer: raftProposer(node) });
    const { store } = this;
    const initCluster = (): never => expect.unreachable("the cluster is there");
    const { work, lead } = joinParts({ clock, random, log, metrics: noMetrics }, store);
    this.lead = lead;
    const { relay } = work;
    const services = [
      ...controlServices({ store: () => store, initCluster, relay, version: "1", clock, random }),
      bind(DispatcherDefinition, work.handlers),
    ];
    const member: Member<undefined> = {
      clusterId: "c",
      managerId: `m${node.id}`,
      store,
      work: undefined,
      hasLeader: () => node.leadership().leader !== undefined,
      led: Promise.resolve(),
      ended: node.done,
    };
    const leadership = leadershipOf({ part: { kind: "member", member } });
    this.pipeline = createPipeline({
      services,
      clock,
      random,
      leadership: {
        barrier: () => leadership.barrier(),
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

  /** The responses of a call. @param caller an operator, by default */
  call<T>(
    path: string,
    requests: Uint8Array | AsyncIterable<Uint8Array>,
    response: MessageType<T>,
    { stale = false, caller = operator }: { readonly stale?: boolean; readonly caller?: Identity } = {},
  ): AsyncIterable<T> {
    const answer = this.pipeline.call({
      path: `/warren.v1.${path}`,
      peer: peerOf(caller),
      requests: requests instanceof Uint8Array ? once(requests) : requests,
      metadata: (key) => (stale && key === "warren-read" ? "stale" : undefined),
      signal: new AbortController().signal,
    });
    return decoded(answer.messages, response);
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

async function* decoded<T>(messages: AsyncIterable<Uint8Array>, type: MessageType<T>): AsyncGenerator<T, void, void> {
  for await (const bytes of messages) yield type.decode(bytes);
}

export function bytesOf<T>(type: MessageType<T>, value: object): Uint8Array {
  return type.encode(type.fromPartial(value as never)).finish();
}

export class Group {
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
      const { store, lead } = manager;
      const onLeaderTerm: RaftNode["onLeaderTerm"] = (listener) => node.onLeaderTerm(listener);
      const leading = whileLeading({ onLeaderTerm, store, clock, random, log }, lead);
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
