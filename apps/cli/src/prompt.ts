/** Questions on a terminal. The answers are read from stdin, the questions written to stderr. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { CommandFailed } from "./warren-command.ts";

/** @throws CommandFailed where it is not answered */
export function ask(question: string): Promise<string> {
  return answerTo(question, process.stderr);
}

/** The same, without showing what is typed. */
export async function askSecretly(question: string): Promise<string> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    return await answerTo("", nowhere);
  } finally {
    process.stderr.write("\n");
  }
}

async function answerTo(question: string, output: NodeJS.WritableStream): Promise<string> {
  // A question before this one has let go of it.
  process.stdin.ref();
  const reader = createInterface({ input: process.stdin, output, terminal: true });
  const given = new AbortController();
  const giveUp = (): void => given.abort();
  // Ctrl-C and Ctrl-D.
  reader.once("SIGINT", giveUp).once("close", giveUp);
  try {
    return await reader.question(question, { signal: given.signal });
  } catch (error) {
    if (!given.signal.aborted) throw error;
    throw new CommandFailed("given up: nothing was changed");
  } finally {
    reader.close();
    process.stdin.unref();
  }
}
