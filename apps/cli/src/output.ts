/** What reads print: a table for people, JSON, YAML or names for programs. */
import { styleText } from "node:util";
import Table from "cli-table3";
import stringWidth from "string-width";

export const formats = ["table", "json", "yaml", "name"] as const;
export type Format = (typeof formats)[number];

export interface Column<T> {
  readonly title: string;
  /** Shown with `-o wide`, or where it is named. @default false */
  readonly wide?: boolean;
  readonly value: (row: T) => string;
}

/** How one kind of answer is printed. */
export interface Printable<T> {
  /** For `table`: a row each. */
  readonly rows: readonly T[];
  readonly columns: readonly Column<T>[];
  /** For `name`: what names a row in other commands. */
  name(row: T): string;
  /** For `json` and `yaml`: the API's message, in proto3 JSON. */
  json(): unknown;
}

export async function render<T>(format: Format, printable: Printable<T>): Promise<string> {
  switch (format) {
    case "table":
      return table(
        printable.rows,
        printable.columns.filter(({ wide = false }) => !wide),
      );
    case "name":
      return printable.rows.map((row) => printable.name(row)).join("\n");
    case "json":
      return JSON.stringify(await printable.json(), undefined, 2);
    case "yaml": {
      // By its default export, which is all that a bundle keeps of a CommonJS package.
      const { default: yaml } = await import("yaml");
      return yaml.stringify(await printable.json()).trimEnd();
    }
  }
}

const bare = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};

/** Between two columns. */
const gap = bare.middle.length;
/** Characters that a column keeps, though the table does not fit. */
const leastWidth = 8;

/**
 * Columns without lines; control characters of values are shown, not obeyed.
 *
 * @param width in which the rows fit: the widest columns are cut, which `…` shows. @default the terminal's; none elsewhere
 */
export function table<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  width: number | undefined = process.stdout.isTTY ? process.stdout.columns : undefined,
): string {
  const cells = rows.map((row) => columns.map(({ value }) => printable(value(row))));
  const titles = columns.map(({ title }) => title);
  const out = new Table({
    chars: bare,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    ...(width !== undefined && { colWidths: fitted([titles, ...cells], width) }),
  });
  out.push(titles.map((title) => styleText("bold", title, { stream: process.stdout })));
  out.push(...cells);
  return out
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

/** Widths of columns in which a table fits, the widest cut first. */
function fitted(lines: readonly (readonly string[])[], width: number): number[] {
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => stringWidth(line[i] ?? ""))));
  const room = width - gap * (widths.length - 1);
  for (let over = widths.reduce((sum, each) => sum + each, 0) - room; over > 0; over -= 1) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= leastWidth) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

export interface WrapOptions {
  /** Undefined: one line. */
  readonly columns: number | undefined;
  /** Before every line. @default nothing */
  readonly indent?: string;
  /** Before every line but the first. @default nothing */
  readonly hanging?: string;
}

/** Lines of whole words that fit; a word that is longer than a line has one of its own. */
export function wrapped(text: string, { columns, indent = "", hanging = "" }: WrapOptions): string[] {
  const lines: string[] = [];
  let line = indent;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && columns !== undefined && line.length + 1 + word.length > columns) {
      lines.push(line);
      [line, isEmpty] = [indent + hanging, true];
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

/** One line that a terminal can't be steered by. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (char) => (char === "\n" ? " " : JSON.stringify(char).slice(1, -1)));
}
