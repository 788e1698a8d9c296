/** What changes while it is looked at: written over on a terminal, one text after the other elsewhere. */
import { createLogUpdate } from "log-update";
import type { ProgressOutput } from "./service/convergence.ts";
import { frameText } from "./service/slot-rows.ts";

/** Progress on stderr. */
export function progressOutput(): ProgressOutput {
  const { stderr } = process;
  if (!stderr.isTTY) {
    let last = "";
    const write = (text: string): void => {
      if (text !== last) stderr.write(`${text}\n`);
      last = text;
    };
    return { show: write, note: write, end: () => undefined };
  }
  const update = createLogUpdate(stderr);
  return {
    show: () => undefined,
    frame: (frame) => update(frameText(frame, { columns: stderr.columns, rows: stderr.rows })),
    note: (text) => update.persist(text),
    end: (text) => {
      if (text !== undefined) update(text);
      update.done();
    },
  };
}

export interface LineOutput {
  show(text: string): void;
  /** Idempotent. */
  end(): void;
}

/** An answer that takes the place of the one before it. */
export function lineOutput(stream: NodeJS.WriteStream): LineOutput {
  let last: string | undefined;
  const update = stream.isTTY ? createLogUpdate(stream) : undefined;
  return {
    show(text) {
      if (text === last) return;
      last = text;
      if (update === undefined) stream.write(`${text}\n`);
      else update(text);
    },
    end: () => update?.done(),
  };
}

/** Progress that is one line, on stderr. */
export function progressLine(): LineOutput {
  return lineOutput(process.stderr);
}
