/** Runs a transcript and compares; the logger's lines are not compared. */
import { confChangeRunner } from "./conf-changes.ts";
import { interactionRunner } from "./interaction.ts";
import { runQuorum } from "./quorum.ts";
import { parseTranscript, rewriteTranscript, type Directive } from "./transcript.ts";

export interface Difference {
  readonly line: number;
  readonly command: string;
  readonly expected: string;
  readonly actual: string;
}

const kinds: Readonly<Record<string, () => (directive: Directive) => string>> = {
  committed: () => runQuorum,
  vote: () => runQuorum,
  simple: confChangeRunner,
  "enter-joint": confChangeRunner,
  "leave-joint": confChangeRunner,
};

/** The first command tells which kind of transcript it is. */
function runnerFor(directives: readonly Directive[]): (directive: Directive) => string {
  return (kinds[directives[0]?.command ?? ""] ?? interactionRunner)();
}

/** The first difference, or `undefined` if there is none. */
export function runTranscript(text: string): Difference | undefined {
  const directives = parseTranscript(text);
  if (directives.length === 0) return { line: 1, command: "", expected: "commands", actual: "none in this file" };
  const run = runnerFor(directives);
  for (const directive of directives) {
    const actual = attempt(run, directive);
    if (compared(actual) !== compared(directive.expected)) {
      return { line: directive.line, command: directive.command, expected: directive.expected, actual };
    }
  }
  return undefined;
}

/** The transcript with the outputs that the core gives now. */
export function regenerate(text: string): string {
  const directives = parseTranscript(text);
  const run = runnerFor(directives);
  return rewriteTranscript(text, new Map(directives.map((directive) => [directive, run(directive)])));
}

function attempt(run: (directive: Directive) => string, directive: Directive): string {
  try {
    return run(directive);
  } catch (error) {
    return `the node crashed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}

const loggers = /^\s*(?:DEBUG|INFO|WARN|ERROR|FATAL) /u;

/** Without the logger's lines; nothing left is "ok", as for a command that prints nothing. */
function compared(output: string): string {
  const lines = output.split("\n").filter((line) => !loggers.test(line));
  return lines.join("\n").replace(/\n+$/u, "") || "ok";
}
