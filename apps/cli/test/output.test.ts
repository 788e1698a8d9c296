import { LogLine } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { formatLine } from "../src/logs.ts";
import { render, table, type Column } from "../src/output.ts";

interface Row {
  readonly name: string;
  readonly n: number;
}
const columns: readonly Column<Row>[] = [
  { title: "NAME", value: ({ name }) => name },
  { title: "N", value: ({ n }) => String(n) },
];
const rows = [
  { name: "long-name", n: 1 },
  { name: "é", n: 22 },
];
const printable = { rows, columns, name: ({ name }: Row) => name, json: () => ({ rows }) };

test("a table's columns are aligned and have no lines around them", () => {
  expect(table(rows, columns)).toBe("NAME       N\nlong-name  1\né          22");
});

test("control characters of a value can't steer the terminal", () => {
  expect(table([{ name: "a\u001B[31mb\nc", n: 0 }], columns)).toContain("a\\u001b[31mb c");
});

test("json and yaml are the message, name is a line each", async () => {
  expect(JSON.parse(await render("json", printable))).toEqual({ rows });
  expect(await render("yaml", printable)).toBe("rows:\n  - name: long-name\n    n: 1\n  - name: é\n    n: 22");
  expect(await render("name", printable)).toBe("long-name\né");
});

test("a log line is passed on byte by byte, behind its task and time", () => {
  const line = LogLine.fromPartial({
    at: new Date(0),
    line: Buffer.from([0xff, 0x41]),
    serviceName: "web",
    slot: numberedSlot(2),
  });
  expect(formatLine(line, { timestamps: false, "no-names": true })).toEqual(Buffer.from([0xff, 0x41, 0x0a]));
  expect(formatLine(line, { timestamps: true, "no-names": false }).toString("latin1")).toBe(
    "web.2 | 1970-01-01T00:00:00.000Z \xFFA\n",
  );
});
