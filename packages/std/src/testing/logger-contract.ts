/** What every `Logger` that keeps its lines must do. */
import { isDeepStrictEqual } from "node:util";
import { assert } from "../error.ts";
import type { Logger } from "../log.ts";
import type { ContractCase } from "./contract.ts";
import type { LogRecord } from "./recording-logger.ts";

export interface LoggerUnderTest {
  readonly log: Logger;
  /** The lines so far, fields of children included. */
  readonly records: () => readonly LogRecord[];
}

function isLast({ records }: LoggerUnderTest, level: LogRecord["level"], event: string, fields: object): void {
  const last = records().at(-1);
  assert(last?.level === level && last.event === event, `the last line is ${level} "${event}"`);
  const [actual, wanted] = [JSON.stringify(last.fields), JSON.stringify(fields)];
  assert(isDeepStrictEqual({ ...last.fields }, fields), `its fields are ${wanted}, not ${actual}`);
}

export const loggerContract: readonly ContractCase<LoggerUnderTest>[] = [
  {
    title: "keeps the level, the event and the fields of each line, in order",
    async run(subject) {
      const { log, records } = subject;
      log.debug("one", { a: 1 });
      isLast(subject, "debug", "one", { a: 1 });
      log.info("two");
      isLast(subject, "info", "two", {});
      log.warn("three", { list: [1, 2], text: "x" });
      isLast(subject, "warn", "three", { list: [1, 2], text: "x" });
      log.error("four", { nested: { b: true } });
      isLast(subject, "error", "four", { nested: { b: true } });
      assert(
        records()
          .map(({ event }) => event)
          .join() === "one,two,three,four",
        "the order is that of the calls",
      );
    },
  },
  {
    title: "adds a child's fields to its lines and to those of its children; the nearest to the line holds",
    async run(subject) {
      const raft = subject.log.child({ component: "raft", member: 1 });
      const peer = raft.child({ peer: 2, member: 3 });
      peer.info("both");
      isLast(subject, "info", "both", { component: "raft", member: 3, peer: 2 });
      peer.warn("the call's own", { peer: 4 });
      isLast(subject, "warn", "the call's own", { component: "raft", member: 3, peer: 4 });
      raft.info("not the child's");
      isLast(subject, "info", "not the child's", { component: "raft", member: 1 });
      subject.log.info("nobody's");
      isLast(subject, "info", "nobody's", {});
    },
  },
  {
    title: "keeps what a line was given when the caller changes its object later",
    async run(subject) {
      const fields = { term: 1 };
      const child = subject.log.child(fields);
      subject.log.info("before", fields);
      fields.term = 2;
      isLast(subject, "info", "before", { term: 1 });
      child.info("of a child made before");
      isLast(subject, "info", "of a child made before", { term: 1 });
    },
  },
  {
    title: "keeps a line's own level and event, whatever its fields are called",
    async run({ log, records }) {
      log.child({ level: "child" }).warn("the level rises", { level: 2, time: 3, msg: "m", event: "e" });
      const last = records().at(-1);
      assert(last?.level === "warn" && last.event === "the level rises", `not ${last?.level} "${last?.event}"`);
    },
  },
];
