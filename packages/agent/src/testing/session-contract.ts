/** What every `Session` must do, with whatever manager there is at its other end. */
import {
  AssignmentsMessage_Type,
  NodeDescription,
  type AssignmentsMessage,
  type ExecRequest,
  type ExecResponse,
  type LeaseReport,
  type RelayUp,
  type SessionMessage,
} from "@warren/api";
import { until, type ContractCase } from "@warren/std/testing";
import type { Session } from "../seams.ts";
import { check, equal, rejects } from "./contract.ts";

/** The manager's side of a case, of which `nodeId` is a node. */
export interface ManagerUnderTest {
  readonly nodeId: string;
  /** Changes what is assigned to the node. */
  readonly change: () => Promise<void>;
  /** A lease of the node's, as it reports it that holds it. */
  readonly own: () => Promise<LeaseReport>;
  /** One that another node has. */
  readonly foreign: () => Promise<LeaseReport>;
  readonly isStored: (report: LeaseReport) => boolean;
  /** Runs a process on the node for a caller, who sends `input` and leaves when the signal is aborted. */
  readonly exec: (input: AsyncIterable<ExecRequest>, signal: AbortSignal) => AsyncIterable<ExecResponse>;
  /** Stores nothing any more; sessions and all else may end with it. */
  readonly depose: () => Promise<void>;
}

export interface SessionUnderTest {
  readonly session: Session;
  readonly manager: ManagerUnderTest;
  /** Has no manager answer any more. */
  readonly disconnect: () => Promise<void>;
}

interface Opened {
  readonly sessionId: string;
  readonly messages: AsyncIterator<SessionMessage>;
  /** Ends the session. */
  readonly end: AbortController;
}

async function opened({ session, manager: { nodeId } }: SessionUnderTest): Promise<Opened> {
  const end = new AbortController();
  const description = NodeDescription.fromPartial({ hostname: "edge-1", os: "linux", level: 1, minLevel: 1 });
  const request = { nodeId, description, lastApplied: undefined };
  const messages = session.open(request, end.signal)[Symbol.asyncIterator]();
  const first = await messages.next();
  check(first.done !== true, "a session begins with a message");
  const sessionId = first.done === true ? "" : first.value.sessionId;
  check(sessionId !== "", "the session has an id");
  return { messages, sessionId, end };
}

/** The request of the session's next message that has one. */
async function relayed(messages: AsyncIterator<SessionMessage>): Promise<string> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) throw new Error("the session goes on");
    if (next.value.relay !== undefined) return next.value.relay.relayId;
  }
}

/** What an iterator has next, which does not end. */
async function next<T>(values: AsyncIterator<T>): Promise<T> {
  const found = await values.next();
  if (found.done === true) throw new Error("the stream goes on");
  return found.value;
}

async function settles(work: Promise<unknown>): Promise<void> {
  await work.catch(() => undefined);
}

const stdin = (text: string): ExecRequest => ({ message: { $case: "stdin", value: Buffer.from(text) } });
const stdout = (text: string): RelayUp => ({
  message: { $case: "exec", value: { message: { $case: "stdout", value: Buffer.from(text) } } },
});

/** A caller who types `text`, and no more. */
async function* typing(text: string): AsyncGenerator<ExecRequest, void, void> {
  yield stdin(text);
  await new Promise(() => undefined);
}

export const sessionContract: readonly ContractCase<SessionUnderTest>[] = [
  {
    title: "is open for as long as its stream is read, and answers heartbeats of its own id alone",
    async run(subject) {
      const { session, manager } = subject;
      const { sessionId, messages, end } = await opened(subject);
      const { nodeId } = manager;
      const { signal } = new AbortController();
      const { periodMs } = await session.heartbeat({ nodeId, sessionId }, signal);
      check(periodMs > 0, "the period is some milliseconds");
      await rejects(session.heartbeat({ nodeId, sessionId: "other" }, signal), "another session");
      const last = settles(messages.next());
      end.abort(new Error("the worker ends"));
      await last;
      await until("the manager knows that it has ended", () =>
        session.heartbeat({ nodeId, sessionId }, signal).then(
          () => false,
          () => true,
        ),
      );
    },
  },
  {
    title: "ends when another one of its node opens",
    async run(subject) {
      const first = await opened(subject);
      const over = (async (): Promise<void> => {
        while ((await first.messages.next()).done !== true);
      })();
      const ended = settles(over);
      const second = await opened(subject);
      await ended;
      const { nodeId } = subject.manager;
      const { signal } = new AbortController();
      await rejects(subject.session.heartbeat({ nodeId, sessionId: first.sessionId }, signal), "the first one");
      await subject.session.heartbeat({ nodeId, sessionId: second.sessionId }, signal);
      second.end.abort();
    },
  },
  {
    title: "resolves a report once it is stored, but for what is another node's, and rejects it where it is not",
    async run(subject) {
      const { session, manager } = subject;
      const { nodeId } = manager;
      const { sessionId, end } = await opened(subject);
      const { signal } = new AbortController();
      const report = (...leases: LeaseReport[]): ReturnType<Session["report"]> =>
        session.report({ nodeId, sessionId, leases, description: undefined }, signal);
      const [own, foreign] = [await manager.own(), await manager.foreign()];
      const { refused } = await report(own, foreign);
      equal(
        refused.map(({ slotId, epoch }) => [slotId, epoch?.reign, epoch?.index]),
        [[foreign.slotId, foreign.epoch?.reign, foreign.epoch?.index]],
      );
      check(refused[0]?.why !== "", "it says why");
      check(manager.isStored(own) && !manager.isStored(foreign), "the node's own is stored, and the other is not");
      await rejects(
        session.report({ nodeId, sessionId: "other", leases: [own], description: undefined }, signal),
        "a report of another session",
      );
      await manager.depose();
      await rejects(report(own), "a report that can't be stored");
      end.abort();
    },
  },
  {
    title: "carries assignments in order: all that differs first, then each change after the one before",
    async run(subject) {
      const { session, manager } = subject;
      const { sessionId, end } = await opened(subject);
      const request = { nodeId: manager.nodeId, sessionId, held: Buffer.alloc(0) };
      const stream = session.assignments(request, end.signal)[Symbol.asyncIterator]();
      const complete = await next(stream);
      equal([complete.type, complete.appliesTo], [AssignmentsMessage_Type.COMPLETE, ""]);
      let before: AssignmentsMessage = complete;
      for (let round = 0; round < 3; round += 1) {
        await manager.change();
        const change = await next(stream);
        equal([change.type, change.appliesTo], [AssignmentsMessage_Type.INCREMENTAL, before.resultsIn]);
        check(change.changes.length > 0, "it changes something");
        check((change.point?.version ?? 0) >= (before.point?.version ?? 0), "its point does not go back");
        before = change;
      }
      const last = settles(stream.next());
      end.abort(new Error("the worker ends"));
      await last;
      const { signal } = new AbortController();
      const others = session.assignments({ ...request, sessionId: "other" }, signal);
      await rejects(Array.fromAsync(others), "assignments of another session");
    },
  },
  {
    title: "carries a relay both ways, to the end of what the worker sends",
    async run(subject) {
      const { session, manager } = subject;
      const { sessionId, messages, end } = await opened(subject);
      const answers = Array.fromAsync(manager.exec(typing("ls"), end.signal));
      const relayId = await relayed(messages);
      const heard = Promise.withResolvers<void>();
      async function* up(): AsyncGenerator<RelayUp, void, void> {
        yield { message: { $case: "open", value: { nodeId: manager.nodeId, sessionId, relayId } } };
        await heard.promise;
        for (const text of ["a", "b"]) yield stdout(text);
        yield { message: { $case: "done", value: true } };
      }
      const typed: string[] = [];
      for await (const { message } of session.relay(up(), end.signal)) {
        if (message?.$case === "end") break;
        if (message?.$case !== "exec" || message.value.message?.$case !== "stdin") continue;
        typed.push(message.value.message.value.toString());
        heard.resolve();
      }
      equal(typed, ["ls"]);
      const texts = (await answers).map(({ message }) => (message?.$case === "stdout" ? message.value.toString() : ""));
      equal(texts, ["a", "b"]);
      end.abort();
    },
  },
  {
    title: "says when the caller of a relay has gone, and ends one whose worker goes",
    async run(subject) {
      const { session, manager } = subject;
      const { sessionId, messages, end } = await opened(subject);
      const { nodeId } = manager;
      for (const goes of ["caller", "worker"] as const) {
        const [caller, worker] = [new AbortController(), new AbortController()];
        const call = manager.exec(typing("x"), caller.signal)[Symbol.asyncIterator]();
        const first = call.next();
        first.catch(() => undefined);
        const relayId = await relayed(messages);
        async function* up(): AsyncGenerator<RelayUp, void, void> {
          yield { message: { $case: "open", value: { nodeId, sessionId, relayId } } };
          yield stdout("begun");
          await new Promise(() => undefined);
        }
        const down = session.relay(up(), worker.signal)[Symbol.asyncIterator]();
        equal((await next(down)).message?.$case, "exec");
        await first;
        const last = call.next();
        if (goes === "caller") {
          last.catch(() => undefined);
          caller.abort(new Error("the caller has gone"));
          equal((await next(down)).message?.$case, "end");
        } else {
          const over = settles(down.next());
          const failed = rejects(last, "a call whose worker goes");
          worker.abort(new Error("the worker ends"));
          await failed;
          await over;
        }
      }
      end.abort();
    },
  },
  {
    title: "fails where no manager answers, what is open included",
    async run(subject) {
      const { session, manager } = subject;
      const { nodeId } = manager;
      const { sessionId, messages, end } = await opened(subject);
      const last = rejects(messages.next(), "the open session");
      await subject.disconnect();
      await last;
      const { signal } = new AbortController();
      await rejects(session.heartbeat({ nodeId, sessionId }, signal), "a heartbeat");
      await rejects(session.report({ nodeId, sessionId, leases: [], description: undefined }, signal), "a report");
      const held = Buffer.alloc(0);
      await rejects(
        session.assignments({ nodeId, sessionId, held }, signal)[Symbol.asyncIterator]().next(),
        "assignments",
      );
      await rejects(opened(subject), "another session");
      end.abort();
    },
  },
  {
    title: "ends each call at once when its signal aborts, or was aborted",
    async run(subject) {
      const { session, manager } = subject;
      const { sessionId, end } = await opened(subject);
      const { nodeId } = manager;
      const gone = AbortSignal.abort(new Error("the worker ends"));
      const leases = [await manager.own()];
      await rejects(session.heartbeat({ nodeId, sessionId }, gone), "a heartbeat");
      await rejects(session.report({ nodeId, sessionId, leases, description: undefined }, gone), "a report");
      const now = new AbortController();
      const heartbeat = session.heartbeat({ nodeId, sessionId }, now.signal);
      const report = session.report({ nodeId, sessionId, leases, description: undefined }, now.signal);
      now.abort(new Error("the worker ends"));
      await rejects(heartbeat, "a heartbeat that is under way");
      await rejects(report, "a report that is under way");
      end.abort();
    },
  },
];
