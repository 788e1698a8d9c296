import { LogLine } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { describe, expect, test } from "vitest";
import { formatLine } from "../src/logs.ts";
import { listText, type ListFlags } from "../src/list-output.ts";
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

test("a table that is wider than the terminal fits it: the widest columns are cut, and none to nothing", () => {
  const wide = [{ name: "a-name-of-30-characters-1234567", n: 1 }];
  expect(table(wide, columns, 40)).toBe("NAME                             N\na-name-of-30-characters-1234567  1");
  expect(table(wide, columns, 20)).toBe("NAME               N\na-name-of-30-cha…  1");
  expect(table(wide, columns, 5).split("\n").at(-1)).toBe("a-name-…  1");
  // What takes two places counts as two.
  expect(table([{ name: "日本語日本語", n: 1 }], columns, 20)).toContain("日本語日本語  1");
});

describe("a list", () => {
  const all: readonly Column<Row>[] = [...columns, { title: "MORE", value: () => "x", wide: true }];
  const list = (flags: Partial<ListFlags>): Promise<string> =>
    listText({ output: "table", quiet: false, columns: undefined, ...flags }, { ...printable, columns: all });
  const head = async (flags: Partial<ListFlags>): Promise<string | undefined> => (await list(flags)).split("\n")[0];

  test("has more columns with -o wide, or those that are named, in their order", async () => {
    expect(await head({})).toBe("NAME       N");
    expect(await head({ output: "wide" })).toBe("NAME       N   MORE");
    expect(await head({ columns: "n, more" })).toBe("N   MORE");
  });

  test("is its names alone with -q", async () => {
    expect(await list({ quiet: true })).toBe("long-name\né");
  });

  test.each([
    [{ quiet: true, output: "json" }, "-q and -o json contradict each other"],
    [{ columns: "N", output: "yaml" }, "--columns is for tables"],
    [{ columns: "N", quiet: true }, "--columns is for tables"],
    [{ columns: "NAME,SIZE" }, "there is no column 'SIZE'; there are NAME,N,MORE"],
  ])("%o is refused: %s", async (flags, text) => {
    await expect(list(flags)).rejects.toThrow(text);
  });
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
