import { AssignmentsMessage_Type, LeaseReport_State, type RelayUp } from "@warren/api";
import type { Session } from "../seams.ts";
import { check, equal, rejects, type ContractCase } from "./contract.ts";
import type { FakeManager } from "./fake-manager.ts";

/** A manager for one case, and a Session with it. */
export interface SessionUnderTest {
  readonly manager: FakeManager;
  readonly session: Session;
}

/** Opens a session and reads its first message. */
async function opened({ session }: SessionUnderTest, signal: AbortSignal) {
  const request = { nodeId: "node", description: undefined, lastApplied: undefined };
  const messages = session.open(request, signal)[Symbol.asyncIterator]();
  const first = await messages.next();
  check(first.done !== true, "a session begins with a message");
  return { messages, sessionId: first.done === true ? "" : first.value.sessionId };
}

/** What every `Session` must do. */
export const sessionContract: readonly ContractCase<SessionUnderTest>[] = [
  {
    title: "registers the node for as long as the stream is read",
    async run(subject) {
      const end = new AbortController();
      const { messages, sessionId } = await opened(subject, end.signal);
      equal(subject.manager.nodeId, "node");
      check(sessionId !== "", "the session has an id");
      const next = messages.next();
      subject.manager.sendNode();
      check((await next).done !== true, "a later message arrives");
      const last = messages.next();
      end.abort(new Error("the worker ends"));
      // The stream may end or reject.
      await last.catch(() => undefined);
    },
  },
  {
    title: "answers heartbeats of its session, and refuses those of another",
    async run(subject) {
      const end = new AbortController();
      const { sessionId } = await opened(subject, end.signal);
      const { periodMs } = await subject.session.heartbeat({ nodeId: "node", sessionId }, end.signal);
      equal(periodMs, subject.manager.periodMs);
      await rejects(subject.session.heartbeat({ nodeId: "node", sessionId: "other" }, end.signal), "another session");
      end.abort();
    },
  },
  {
    title: "resolves a report once it is stored, and rejects it if it can't be",
    async run(subject) {
      const end = new AbortController();
      const { sessionId } = await opened(subject, end.signal);
      const lease = {
        slotId: "svc.1",
        epoch: { reign: 1, index: 1 },
        state: LeaseReport_State.HELD,
        record: undefined,
        runs: [],
        settled: "",
        versionId: "v",
        address: "10.77.1.2",
        imageDigest: "",
      };
      const stored = await subject.session.report(
        { nodeId: "node", sessionId, leases: [lease], description: undefined },
        end.signal,
      );
      equal(stored.refused, []);
      equal([...subject.manager.reports.keys()], ["svc.1/1-1"]);
      subject.manager.refusedSlots.add("svc.2");
      const others = { ...lease, slotId: "svc.2" };
      const { refused } = await subject.session.report(
        { nodeId: "node", sessionId, leases: [others], description: undefined },
        end.signal,
      );
      equal(
        refused.map(({ slotId, why }) => [slotId, why]),
        [["svc.2", "another node has it"]],
      );
      subject.manager.refuseReports = true;
      await rejects(
        subject.session.report({ nodeId: "node", sessionId, leases: [lease], description: undefined }, end.signal),
        "a refusal",
      );
      end.abort();
    },
  },
  {
    title: "carries assignments complete and in order, with unchanged bytes of objects",
    async run(subject) {
      const end = new AbortController();
      const { sessionId } = await opened(subject, end.signal);
      const object = Buffer.from([0xfa, 0x3f, 2, 0, 255]);
      const request = { nodeId: "node", sessionId, held: Buffer.alloc(0) };
      const stream = subject.session.assignments(request, end.signal)[Symbol.asyncIterator]();
      const complete = await stream.next();
      check(complete.done !== true && complete.value.type === AssignmentsMessage_Type.COMPLETE, "COMPLETE comes first");
      subject.manager.send([{ kind: 99 as 1, key: "k", object }]);
      subject.manager.send([{ kind: 99 as 1, key: "k", object: undefined }]);
      const [one, two] = [await stream.next(), await stream.next()];
      if (one.done === true || two.done === true) throw new Error("the stream goes on");
      equal(Buffer.from(one.value.changes[0]?.object ?? []).toString("hex"), object.toString("hex"));
      equal(two.value.changes[0]?.object, undefined);
      equal(two.value.appliesTo, one.value.resultsIn);
      end.abort();
    },
  },
  {
    title: "carries a relay in both directions, and ends it after the worker's last message",
    async run(subject) {
      const end = new AbortController();
      const { sessionId } = await opened(subject, end.signal);
      const gate = Promise.withResolvers<void>();
      const up = async function* (): AsyncGenerator<RelayUp, void, void> {
        yield { message: { $case: "open", value: { nodeId: "node", sessionId, relayId: "r" } } };
        await gate.promise;
        yield { message: { $case: "done", value: true } };
      };
      const down = subject.session.relay(up(), end.signal)[Symbol.asyncIterator]();
      const next = down.next();
      while (!subject.manager.relays.has("r")) await new Promise((resolve) => setImmediate(resolve));
      const relay = subject.manager.relays.get("r");
      relay?.down.push({ message: { $case: "end", value: true } });
      const answer = await next;
      check(answer.done !== true && answer.value.message?.$case === "end", "the caller's message arrives");
      gate.resolve();
      await relay?.ended;
      equal(relay?.up.at(-1)?.message?.$case, "done");
      end.abort();
    },
  },
  {
    title: "rejects if no manager answers, and ends at once when its signal aborts",
    async run(subject) {
      const end = new AbortController();
      const { sessionId } = await opened(subject, end.signal);
      subject.manager.silent = true;
      const waiting = subject.session.heartbeat({ nodeId: "node", sessionId }, AbortSignal.any([end.signal]));
      const over = rejects(
        Promise.race([waiting, new Promise((_, reject) => end.signal.addEventListener("abort", reject))]),
        "a heartbeat whose caller ends",
      );
      end.abort(new Error("the worker ends"));
      await over;
      subject.manager.silent = false;
      subject.manager.disconnect();
      await rejects(
        subject.session.heartbeat({ nodeId: "node", sessionId }, new AbortController().signal),
        "a manager that is away",
      );
    },
  },
];
