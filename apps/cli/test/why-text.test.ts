import { ExplainResponse, ObjectKind } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { timeText } from "../src/views.ts";
import { whyAllText, whyText, type WhyView } from "../src/why-text.ts";

const at = (second: number): Date => new Date(second * 1_000);

function view(answer: Parameters<typeof ExplainResponse.fromPartial>[0], more: Partial<WhyView> = {}): WhyView {
  return {
    answer: ExplainResponse.fromPartial({ kind: ObjectKind.SERVICE, name: "web", ...answer }),
    lastLines: [],
    columns: 80,
    when: timeText(false, 100_000),
    bold: (text) => text,
    ...more,
  };
}

const crashing = {
  summary: "service web runs 0 of 3; slot 1: failed with exit code 3, 12 times in a row",
  reasons: [
    ...[1, 2, 3].map((slot) => ({
      at: at(80 + slot),
      taskId: `t${slot}`,
      slot: numberedSlot(slot),
      text: "failed with exit code 3 on edge-1",
      remedy: "read its whole log",
      command: "warren task logs 2kq0c8n6x1m3t5v7z9b4d6f8h",
    })),
    { at: at(20), taskId: "t0", slot: numberedSlot(1), text: "failed with exit code 3 on edge-1", past: true },
    {
      at: at(99),
      text: `on edge-1: tasks resolve no names: packets from them to the node's name server are ${"dropped ".repeat(9)}`,
      remedy: "ufw",
    },
  ],
  logTaskId: "t3",
};

test.each([80, 140])("why fits %i columns: headline, causes, last words, one command as it is pasted", (columns) => {
  const text = whyText(view(crashing, { columns, lastLines: ["listening", "Error: no such table"] }));
  for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(columns);
  expect(text.split("\n")).toEqual(
    expect.arrayContaining([
      "web.1, web.2, web.3, 17s ago: failed with exit code 3 on edge-1",
      "web.3 wrote last:",
      "  listening",
      "  Error: no such table",
      "Read its whole log",
      "  warren task logs 2kq0c8n6x1m3t5v7z9b4d6f8h",
      "1 earlier event: add --all",
    ]),
  );
  expect(text.match(/^ {2}warren /gm)).toHaveLength(1);
  // What concerns all of it comes first.
  expect(text.indexOf("resolve no names")).toBeLessThan(text.indexOf("web.1, web.2"));
});

test("what the headline says is not said again, and without a command the tasks are shown", () => {
  const waits = "the only node can't take it (1: short of memory)";
  const text = whyText(
    view({
      summary: `service web runs 0 of 1; slot 1: ${waits}`,
      reasons: [
        { at: at(9), taskId: "t", slot: numberedSlot(1), text: `waits: ${waits}`, remedy: "free 3 GiB on edge-1" },
      ],
    }),
  );
  expect(text.replaceAll("\n", " ").split("short of memory")).toHaveLength(2);
  expect(text.endsWith("Free 3 GiB on edge-1\n  warren service tasks web")).toBe(true);
});

test("a command is one line, however long it is, and off a terminal so is every sentence", () => {
  const command = `ufw allow from 10.77.0.0/16 to 169.254.1.1 port 53 ${"and so on ".repeat(9)}`.trim();
  const answer = { summary: "service web runs as asked for: 1 of 1", reasons: [{ text: "x ".repeat(60), command }] };
  expect(whyText(view(answer)).split("\n")).toContain(`  ${command}`);
  expect(whyText(view(answer, { columns: undefined })).split("\n")).toHaveLength(6);
});

test("a service that runs as asked for is one line; all of its history has the newest first", () => {
  const reasons = [1, 2].map((run) => ({
    at: at(run * 10),
    taskId: `t${run}`,
    slot: numberedSlot(1),
    text: `failed with exit code ${run}`,
    remedy: "read its whole log",
    command: `warren task logs t${run}`,
    past: true,
  }));
  const summary = "service web runs as asked for: 1 of 1";
  expect(whyText(view({ summary }))).toBe(summary);
  expect(whyText(view({ summary, reasons }))).toBe(`${summary}\n\n2 earlier events: add --all`);
  expect(whyAllText(view({ summary, reasons })).split("\n")).toEqual([
    summary,
    "",
    "web.1, 1m ago: failed with exit code 2",
    "  read its whole log",
    "    warren task logs t2",
    "",
    "web.1, 1m ago: failed with exit code 1",
    "  read its whole log",
    "    warren task logs t1",
  ]);
});

test("control characters of a cause are shown, not obeyed", () => {
  expect(whyText(view({ summary: "a", reasons: [{ text: "\u001b[2J" }] }))).toContain("\\u001b[2J");
});
