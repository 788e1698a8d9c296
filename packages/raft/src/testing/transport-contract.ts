/** What every `Transport` must do. It may lose, delay, repeat and reorder messages, so a case sends until one arrives. */
import { assert } from "@warren/std";
import { until, type ContractCase } from "@warren/std/testing";

import { message, type Message, type NodeId } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { SnapshotSource } from "../storage/index.ts";
import type { Hello, PeerRefusal, Transport, TransportHandler } from "../transport/transport.ts";
import { decodeMessages, encodeMessages } from "../transport/wire.ts";

export interface TransportUnderTest {
  /** A new process of member `id`: its transport, not started. The subject closes it when the case is over. */
  readonly transport: (id: NodeId) => Promise<Transport>;
  /** Where others find a member. */
  readonly address: (id: NodeId) => string;
}

/** A member's process, and what its transport passed to it. */
class End {
  readonly transport: Transport;
  readonly received: Message[] = [];
  readonly unreachable: NodeId[] = [];
  readonly refusals: PeerRefusal[] = [];
  readonly admitted: Hello[] = [];
  /** Calls of the handler, in order. */
  readonly calls: string[] = [];
  readonly handler: TransportHandler;

  constructor(id: NodeId, transport: Transport, overrides: Partial<TransportHandler>) {
    this.transport = transport;
    const noted =
      <Args extends readonly unknown[], Result>(name: string, work: (...args: Args) => Result) =>
      (...args: Args): Result => {
        this.calls.push(name);
        return work(...args);
      };
    const admit = overrides.admit ?? (() => Promise.resolve(undefined));
    this.handler = {
      hello: { clusterId: "c", from: id, incarnation: `i${id}`, minLevel: 1, level: 2, activeLevel: 1 },
      encode: encodeMessages,
      decode: decodeMessages,
      receiveSnapshot: async (_message, source) => void (await bytesOf(source, 0)),
      ...overrides,
      refused: noted("refused", (refusal) => void this.refusals.push(refusal)),
      admit: noted("admit", (hello) => {
        this.admitted.push({ ...hello });
        return admit(hello);
      }),
      receive: noted("receive", (messages) => void this.received.push(...messages)),
      unreachable: noted("unreachable", (peer) => void this.unreachable.push(peer)),
    };
  }

  /** Messages of this term that arrived. */
  ofTerm(term: number): readonly Message[] {
    return this.received.filter((each) => each.term === term);
  }
}

async function start(
  { transport, address }: TransportUnderTest,
  id: NodeId,
  peers: readonly NodeId[],
  overrides: Partial<TransportHandler> = {},
): Promise<End> {
  const end = new End(id, await transport(id), overrides);
  await end.transport.start(end.handler);
  end.transport.setPeers(peers.map((peer) => ({ id: peer, address: address(peer) })));
  return end;
}

/** Sends, again and again as Raft does, until the condition holds. */
async function sendUntil(from: End, m: Message, what: string, condition: () => boolean): Promise<void> {
  await until(what, () => {
    if (condition()) return true;
    from.transport.send([m]);
    return condition();
  });
}

const heartbeat = (from: NodeId, to: NodeId, term = 1): Message => message("MsgHeartbeat", { from, to, term });

async function connected(from: End, to: End): Promise<void> {
  const [a, b] = [from.handler.hello.from, to.handler.hello.from];
  const before = to.received.length;
  await sendUntil(from, heartbeat(a, b), `a message of ${a} arrives at ${b}`, () => to.received.length > before);
}

async function bytesOf(source: SnapshotSource, offset: number): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(source.from(offset)));
}

const confState = { voters: [1, 2], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
const metadata = { index: 5, term: 1, confState };
const announcement = message("MsgSnap", { from: 1, to: 2, snapshot: { metadata, data: new Uint8Array(0) } });
const state = ["the ", "state ", "of a machine"];

function sendSnapshot(from: End, chunks: AsyncIterable<Uint8Array> = chunksOf(...state)): Promise<void> {
  const reader = { metadata, bytes: state.join("").length, checksum: 7, chunks };
  return from.transport.sendSnapshot(announcement, reader);
}

async function* chunksOf(...texts: readonly string[]): AsyncGenerator<Uint8Array, void, void> {
  for (const text of texts) yield Buffer.from(text);
}

async function isUnreachable(what: string, work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert(RaftError.is(error, "RAFT_PEER_UNREACHABLE"), `${what} rejects as unreachable, not with ${String(error)}`);
}

export const transportContract: readonly ContractCase<TransportUnderTest>[] = [
  {
    title: "carries messages as they were when they were sent, each to its member",
    async run(subject) {
      const one = await start(subject, 1, [2, 3]);
      const [two, three] = [await start(subject, 2, [1]), await start(subject, 3, [1])];
      await connected(one, two);
      await connected(one, three);
      const sent = (to: NodeId, data: Uint8Array): Message =>
        message("MsgApp", {
          from: 1,
          to,
          term: 2,
          logTerm: 1,
          index: 4,
          commit: 3,
          vote: 0,
          rejectHint: 9,
          reject: true,
          context: Buffer.from([0, 255]),
          entries: [{ term: 2, index: 5, type: "EntryNormal", data }],
        });
      await until("both arrive", () => {
        const data = Buffer.from("an entry");
        one.transport.send([sent(2, data), sent(3, data)]);
        data.fill(0);
        return two.ofTerm(2).length > 0 && three.ofTerm(2).length > 0;
      });
      for (const [to, end] of [
        [2, two],
        [3, three],
      ] as const)
        for (const each of end.ofTerm(2)) {
          const whole = sent(to, Buffer.from("an entry"));
          assert(encodeMessages([each]).equals(encodeMessages([whole])), `what arrives at ${to} is what was sent`);
        }
    },
  },
  {
    title: "never repeats a proposal",
    async run(subject) {
      const [one, two] = [await start(subject, 1, [2]), await start(subject, 2, [1])];
      await connected(one, two);
      const count = 50;
      for (let term = 100; term < 100 + count; term += 1)
        one.transport.send([
          message("MsgProp", {
            from: 1,
            to: 2,
            entries: [{ term, index: term, type: "EntryNormal", data: Buffer.of(1) }],
          }),
        ]);
      await sendUntil(one, heartbeat(1, 2, 7), "what was sent later arrives", () => two.ofTerm(7).length > 0);
      const proposals = two.received.filter(({ type }) => type === "MsgProp").map(({ entries }) => entries[0]?.index);
      assert(new Set(proposals).size === proposals.length, "each came once at the most");
    },
  },
  {
    title: "asks for admission with who it is before anything is handed on, each process anew",
    async run(subject) {
      const one = await start(subject, 1, [2]);
      const first = await start(subject, 2, [1]);
      await connected(one, first);
      assert(first.calls[0] === "admit", `the first call is ${first.calls[0]}`);
      const { clusterId, from, incarnation, minLevel, level, activeLevel } = first.admitted[0] ?? {};
      const found = [clusterId, from, incarnation, minLevel, level, activeLevel].join();
      assert(found === "c,1,i1,1,2,1", `it says who it is, not ${found}`);
      await first.transport.close();
      const second = await start(subject, 2, [1]);
      await connected(one, second);
      assert(second.calls[0] === "admit", `a process that starts anew is called first with ${second.calls[0]}`);
    },
  },
  {
    title: "hands on nothing of a peer that is refused; both know why, and it is asked again",
    async run(subject) {
      let why: string | undefined = "it is of another cluster";
      const one = await start(subject, 1, [2]);
      const two = await start(subject, 2, [], { admit: async () => why });
      await sendUntil(one, heartbeat(1, 2), "it is refused, twice", () => two.admitted.length > 1);
      await until("the refused one knows", () => one.refusals.length > 0);
      const there = one.refusals[0];
      assert(there?.peer === 2 && there.by === "there" && there.why.includes("another cluster"), "why, from the other");
      const here = two.refusals[0];
      assert(here?.peer === 1 && here.by === "here" && here.why === "it is of another cluster", "why, from here");
      assert(two.received.length === 0, "nothing was handed on");
      await until("it is not reached", () => one.unreachable.includes(2));
      why = undefined;
      await connected(one, two);
    },
  },
  {
    title: "asks again where the question for admission failed",
    async run(subject) {
      let failures = 0;
      const one = await start(subject, 1, [2]);
      const two = await start(subject, 2, [], {
        admit: async () => {
          failures += 1;
          if (failures === 1) throw new Error("its disk is full");
          return undefined;
        },
      });
      await connected(one, two);
      assert(failures > 1, "it was asked again");
    },
  },
  {
    title: "sends to those that are peers now, and reports others as unreachable",
    async run(subject) {
      const [one, two] = [await start(subject, 1, []), await start(subject, 2, [])];
      one.transport.send([heartbeat(1, 2, 9)]);
      await until("one that is no peer is unreachable", () => one.unreachable.includes(2));
      await isUnreachable("a snapshot to it", sendSnapshot(one));
      assert(two.received.length === 0, "nothing arrives");
      one.transport.setPeers([{ id: 2, address: subject.address(2) }]);
      await connected(one, two);
      one.transport.setPeers([]);
      const before = one.unreachable.length;
      one.transport.send([heartbeat(1, 2, 9)]);
      await until("one that is no peer any more is unreachable", () => one.unreachable.length > before);
      one.transport.setPeers([
        { id: 2, address: subject.address(2) },
        { id: 9, address: "not an address" },
      ]);
      await connected(one, two);
      assert(two.ofTerm(9).length === 0, "what was sent while it was no peer has not arrived");
    },
  },
  {
    title: "keeps the peers that it was given before it started, and drops what is sent before",
    async run(subject) {
      const end = new End(1, await subject.transport(1), {});
      end.transport.setPeers([{ id: 2, address: subject.address(2) }]);
      end.transport.send([heartbeat(1, 2, 9)]);
      await end.transport.start(end.handler);
      const two = await start(subject, 2, [1]);
      await connected(end, two);
      assert(two.ofTerm(9).length === 0, "what was sent before is dropped");
    },
  },
  {
    title: "reports a peer that is not there, and reaches it once it is",
    async run(subject) {
      const one = await start(subject, 1, [2]);
      await sendUntil(one, heartbeat(1, 2), "it is unreachable", () => one.unreachable.includes(2));
      await isUnreachable("a snapshot to it", sendSnapshot(one));
      const two = await start(subject, 2, [1]);
      await connected(one, two);
      await two.transport.close();
      const before = one.unreachable.length;
      await sendUntil(one, heartbeat(1, 2), "it is unreachable again", () => one.unreachable.length > before);
    },
  },
  {
    title: "takes a frame that can't be read as one that did not arrive, and goes on",
    async run(subject) {
      let broken = true;
      const one = await start(subject, 1, [2]);
      const two = await start(subject, 2, [], {
        decode(frame) {
          if (broken) throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "it can't be read");
          return decodeMessages(frame);
        },
      });
      await sendUntil(one, heartbeat(1, 2, 9), "it is unreachable", () => one.unreachable.includes(2));
      broken = false;
      await connected(one, two);
    },
  },
  {
    title: "streams what the receiver lacks of a snapshot, and resolves once it has stored it",
    async run(subject) {
      let stored = false;
      const got: { message: Message; bytes: number; checksum: number; text: string }[] = [];
      const one = await start(subject, 1, [2]);
      const two = await start(subject, 2, [1], {
        async receiveSnapshot(m, source) {
          const { bytes, checksum } = source;
          const text = (await bytesOf(source, 6)).toString();
          for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
          got.push({ message: m, bytes, checksum, text });
          stored = true;
        },
      });
      await connected(one, two);
      await sendSnapshot(one);
      assert(stored, "it is stored");
      const [{ message: m, bytes, checksum, text } = { bytes: 0, checksum: 0, text: "" }, ...more] = got;
      assert(more.length === 0 && m?.type === "MsgSnap" && m.from === 1, "it came once, behind its message");
      assert(JSON.stringify(m.snapshot?.metadata) === JSON.stringify(metadata), "with what it holds");
      assert(bytes === state.join("").length && checksum === 7, "announced with its length and checksum");
      assert(text === state.join("").slice(6), `the bytes from the offset on, not "${text}"`);
    },
  },
  {
    title:
      "rejects a snapshot that can't be read, or that its receiver can't keep or refuses; one that it has already is done",
    async run(subject) {
      let take: TransportHandler["receiveSnapshot"] = async (_message, source) =>
        void (await bytesOf(source, source.bytes));
      let why: string | undefined;
      const one = await start(subject, 1, [2]);
      const two = await start(subject, 2, [1], {
        receiveSnapshot: (m, source) => take(m, source),
        admit: async () => why,
      });
      await connected(one, two);
      await sendSnapshot(one);
      take = () => Promise.reject(new Error("its disk is full"));
      await isUnreachable("one that is not kept", sendSnapshot(one));
      take = async (_message, source) => void (await bytesOf(source, 0));
      const torn = (async function* (): AsyncGenerator<Uint8Array, void, void> {
        yield Buffer.from("the ");
        throw new Error("the file is damaged");
      })();
      await isUnreachable("one that can't be read", sendSnapshot(one, torn));
      await sendSnapshot(one);
      await one.transport.close();
      why = "it is refused";
      const again = await start(subject, 1, [2]);
      await sendUntil(again, heartbeat(1, 2), "it is refused", () => again.refusals.length > 0);
      await isUnreachable("one of a peer that is refused", sendSnapshot(again));
    },
  },
  {
    title: "rejects a snapshot that is on its way when either end closes",
    async run(subject) {
      for (const closes of ["sender", "receiver"] as const) {
        const one = await start(subject, 1, [2]);
        const two = await start(subject, 2, [1]);
        await connected(one, two);
        const begun = Promise.withResolvers<void>();
        const goesOn = Promise.withResolvers<void>();
        const chunks = (async function* (): AsyncGenerator<Uint8Array, void, void> {
          yield Buffer.from("the ");
          begun.resolve();
          await goesOn.promise;
          yield Buffer.from("state of a machine");
        })();
        const over = isUnreachable(`a snapshot whose ${closes} closes`, sendSnapshot(one, chunks));
        await begun.promise;
        await (closes === "sender" ? one : two).transport.close();
        goesOn.resolve();
        await over;
        await Promise.all([one.transport.close(), two.transport.close()]);
      }
    },
  },
  {
    title: "calls its member no more once it is closed, however often that is, and throws at nothing",
    async run(subject) {
      const [one, two] = [await start(subject, 1, [2]), await start(subject, 2, [1])];
      await connected(one, two);
      await connected(two, one);
      await one.transport.close();
      await one.transport.close();
      const before = one.calls.length;
      one.transport.send([heartbeat(1, 2, 9)]);
      one.transport.setPeers([{ id: 2, address: subject.address(2) }]);
      one.transport.send([heartbeat(1, 2, 9)]);
      await isUnreachable("a snapshot of a closed one", sendSnapshot(one));
      const unreachable = two.unreachable.length;
      await sendUntil(two, heartbeat(2, 1), "the other knows", () => two.unreachable.length > unreachable);
      assert(one.calls.length === before, `it is called with ${one.calls.slice(before).join()}`);
      assert(two.ofTerm(9).length === 0, "it sends nothing");
    },
  },
];
