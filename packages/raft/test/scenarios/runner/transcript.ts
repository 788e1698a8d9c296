/**
 * The file format: a command line, its input, `----`, and the output, to the next blank line. Output that has blank
 * lines of its own stands between doubled separators. `#` begins a comment; `\` at the end of a line continues it.
 */
export interface Argument {
  readonly key: string;
  readonly values: readonly string[];
}

export interface Command {
  /** One-based line of the file. */
  readonly line: number;
  readonly command: string;
  readonly args: readonly Argument[];
}

export interface Directive extends Command {
  readonly input: string;
  readonly expected: string;
  /** Lines `[outputStart, outputEnd)` of the file, zero-based, hold the output. */
  readonly outputStart: number;
  readonly outputEnd: number;
}

const separator = "----";

export function parseTranscript(text: string): Directive[] {
  const lines = text.split("\n");
  const directives: Directive[] = [];
  let at = 0;
  while (at < lines.length) {
    const start = at;
    let head = (lines[at++] as string).trim();
    if (head === "" || head.startsWith("#")) continue;
    while (head.endsWith("\\") && at < lines.length) head = `${head.slice(0, -1)} ${(lines[at++] as string).trim()}`;
    const command = parseCommand(head, start + 1);
    if (command.command === "" || command.command === "subtest") continue;
    const input: string[] = [];
    while (at < lines.length && lines[at] !== separator) input.push(lines[at++] as string);
    if (at === lines.length) throw new Error(`line ${start + 1}: no ${separator} after the command`);
    at++;
    const outputStart = at;
    const doubled = lines[at] === separator;
    if (doubled) at++;
    const bodyStart = at;
    if (doubled) while (at < lines.length && !(lines[at] === separator && lines[at + 1] === separator)) at++;
    else while (at < lines.length && (lines[at] as string).trim() !== "") at++;
    const expected = lines.slice(bodyStart, at).join("\n");
    if (doubled) at += 2;
    const outputEnd = at;
    directives.push({
      ...command,
      input: input.join("\n"),
      expected,
      outputStart,
      outputEnd,
    });
  }
  return directives;
}

/** A line `command arg key=value key=(value, value)`. */
export function parseCommand(text: string, line: number): Command {
  const [command, ...args] = parseArguments(text, line);
  return { line, command: command?.key ?? "", args };
}

const argument = /\s*([^\s=(),]+)(?:=(?:\(([^)]*)\)|([^\s(),]*)))?/uy;

function parseArguments(head: string, line: number): Argument[] {
  const args: Argument[] = [];
  const rest = head.trimEnd();
  argument.lastIndex = 0;
  while (argument.lastIndex < rest.length) {
    const from = argument.lastIndex;
    const match = argument.exec(rest);
    if (match === null) throw new Error(`line ${line}: can't parse ${rest.slice(from)}`);
    const [, key, list, single] = match;
    let values: string[] = [];
    if (list !== undefined) values = list.split(/[\s,]+/u).filter((value) => value !== "");
    else if (single !== undefined) values = [single];
    args.push({ key: key as string, values });
  }
  return args;
}

/** A truth value, as Go writes them. */
export function isTrue(value: string | undefined): boolean {
  return value !== undefined && ["1", "t", "T", "true", "TRUE", "True"].includes(value);
}

/** The text with the output of each directive replaced. */
export function rewriteTranscript(text: string, outputs: ReadonlyMap<Directive, string>): string {
  const lines = text.split("\n");
  for (const [directive, output] of [...outputs].toReversed()) {
    const body = output.split("\n");
    const framed = body.includes("") ? [separator, ...body, separator, separator] : body;
    lines.splice(directive.outputStart, directive.outputEnd - directive.outputStart, ...framed);
  }
  return lines.join("\n");
}
