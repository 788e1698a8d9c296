import { LogLine } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { formatLine, Prefixes } from "../src/logs.ts";

const line = (slot: number, taskId: string): LogLine =>
  LogLine.fromPartial({ serviceName: "web", slot: numberedSlot(slot), taskId, line: Buffer.from("hello") });
const plain = { timestamps: false, "no-names": false };
const shown = (prefixes: Prefixes, lines: readonly LogLine[]): string[] =>
  lines.map((each) => formatLine(each, plain, prefixes.isMixed(each)).toString().trimEnd());

test("a line says which task of its slot wrote it once lines of several are mixed", () => {
  const lines = [
    line(1, "aaaaaaaaaaaaaaa"),
    line(2, "bbbbbbbbbbbbbbb"),
    line(1, "ccccccccccccccc"),
    line(2, "bbbbbbbbbbbbbbb"),
  ];
  expect(shown(new Prefixes(false), lines)).toEqual([
    "web.1 | hello",
    "web.2 | hello",
    "web.1 cccccccccccc | hello",
    "web.2 | hello",
  ]);
  expect(shown(new Prefixes(true), lines.slice(0, 1))).toEqual(["web.1 aaaaaaaaaaaa | hello"]);
});
