/** What all lists share: their formats, which columns, names alone, and showing them again at every change. */
import { Flags } from "@oclif/core";
import { systemClock, delay } from "@warren/std";
import type { ObjectKind } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { formats, render, table, type Column, type Format, type Printable } from "./output.ts";
import { UnitError } from "./units.ts";

/** The flags of every list. */
export const listFlags = {
  output: Flags.string({
    char: "o",
    description: "Format: table for people, wide with more columns; json, yaml or name for programs",
    options: ["table", "wide", ...formats.filter((format) => format !== "table")],
    default: "table",
    helpGroup: "GLOBAL",
  }),
  quiet: Flags.boolean({ char: "q", description: "Print names or ids alone, a line each: as -o name" }),
  columns: Flags.string({
    description: "Columns of the table, in this order, as NAME,STATUS",
    helpValue: "COLUMN,…",
  }),
};

/** The flags of lists that can be shown again at every change. */
export const watchedListFlags = {
  ...listFlags,
  watch: Flags.boolean({ description: "Show it again at every change, until Ctrl-C" }),
};

export interface ListFlags {
  readonly output: string;
  readonly quiet: boolean;
  readonly columns: string | undefined;
}

/** A list as its flags want it. @throws UnitError where they contradict each other, or a column is none */
export async function listText<T>(flags: ListFlags, printable: Printable<T>): Promise<string> {
  const { format, columns } = chosen(flags, printable.columns);
  return format === "table" ? table(printable.rows, columns) : render(format, printable);
}

function chosen<T>(
  { output, quiet, columns: names }: ListFlags,
  columns: readonly Column<T>[],
): { readonly format: Format; readonly columns: readonly Column<T>[] } {
  const isTable = output === "table" || output === "wide";
  if (quiet && !isTable && output !== "name") throw new UnitError(`-q and -o ${output} contradict each other`);
  if (names !== undefined && (quiet || !isTable)) throw new UnitError("--columns is for tables: leave -q and -o out");
  if (quiet) return { format: "name", columns };
  if (!isTable) return { format: output as Format, columns };
  if (names !== undefined) return { format: "table", columns: names.split(",").map((name) => columnOf(name, columns)) };
  return { format: "table", columns: columns.filter(({ wide = false }) => output === "wide" || !wide) };
}

function columnOf<T>(name: string, columns: readonly Column<T>[]): Column<T> {
  const wanted = name.trim().toUpperCase();
  const found = columns.find(({ title }) => title === wanted);
  if (found !== undefined) return found;
  const all = columns.map(({ title }) => title).join(",");
  throw new UnitError(`--columns: there is no column '${name}'; there are ${all}`);
}

/** Changes that follow one another this closely are shown together, ms. */
const quietMs = 100;

/**
 * Shows `text` now and after changes of these kinds of objects, until `signal` is aborted: in the same place on a
 * terminal, one below the other elsewhere, where a text that is the same as before is left out.
 */
export async function showAgain(
  client: ApiClient,
  kinds: readonly ObjectKind[],
  text: () => Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  const { createLogUpdate } = await import("log-update");
  const { stdout } = process;
  const screen = stdout.isTTY ? createLogUpdate(stdout) : undefined;
  let last: string | undefined;
  const show = async (): Promise<void> => {
    const now = await text();
    if (screen !== undefined) screen(now);
    else if (now !== last) stdout.write(`${now}\n`);
    last = now;
  };
  const over = new AbortController();
  const all = AbortSignal.any([signal, over.signal]);
  let changed = Promise.withResolvers<void>();
  const watching = (async () => {
    let synced = false;
    for await (const { message } of client.events.watch({ kinds: [...kinds] }, { signal: all })) {
      if (message?.$case === "synced") synced = true;
      if (synced) changed.resolve();
    }
  })();
  // Awaited with what it announces.
  watching.catch(() => undefined);
  try {
    for (;;) {
      await Promise.race([changed.promise, watching]);
      changed = Promise.withResolvers();
      await show();
      await delay(systemClock, quietMs, all);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    over.abort();
    screen?.done();
  }
}
