/** Progress on stderr: one line that is written over on a terminal, a line for each change elsewhere. */
import { createLogUpdate } from "log-update";
import type { ProgressOutput } from "./service/convergence.ts";

export function progressOutput(): ProgressOutput {
  if (!process.stderr.isTTY) {
    const write = (text: string): void => void process.stderr.write(`${text}\n`);
    return { show: write, note: write, end: () => undefined };
  }
  const update = createLogUpdate(process.stderr);
  return { show: (text) => update(text), note: (text) => update.persist(text), end: () => update.done() };
}
