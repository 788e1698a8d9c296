/** Progress on stderr: one line that is written over on a terminal, a line for each change elsewhere. */
import { createLogUpdate } from "log-update";
import type { ProgressOutput } from "./service/convergence.ts";

export function progressOutput(): ProgressOutput {
  if (!process.stderr.isTTY) {
    return { show: (text) => void process.stderr.write(`${text}\n`), end: () => undefined };
  }
  const update = createLogUpdate(process.stderr);
  return { show: (text) => update(text), end: () => update.done() };
}
