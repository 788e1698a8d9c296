/** Mutations of the source, by rule: what a test suite that is worth something notices. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const source = join(import.meta.dirname, "../../src");
const folders = ["core", "node", "storage", "transport"];

/** One change of one line. */
export interface GeneratedMutation {
  /** Relative to `src/`. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly rule: string;
  readonly before: string;
  readonly after: string;
  /** Which one it is, from 1, of those that the rule makes of lines like this in the file. */
  readonly nth: number;
}

interface Rule {
  readonly name: string;
  /** What the line becomes; nothing if the rule does not apply. */
  readonly change: (line: string, next: string) => string | undefined;
}

function replaced(pattern: RegExp, by: string): Rule["change"] {
  return (line) => (pattern.test(line) ? line.replace(pattern, by) : undefined);
}

const rules: readonly Rule[] = [
  { name: "comparison: < becomes <=", change: replaced(/ < (?!=)/u, " <= ") },
  { name: "comparison: <= becomes <", change: replaced(/ <= /u, " < ") },
  { name: "comparison: > becomes >=", change: replaced(/ > (?!=)/u, " >= ") },
  { name: "comparison: >= becomes >", change: replaced(/ >= /u, " > ") },
  { name: "comparison: === becomes !==", change: replaced(/ === /u, " !== ") },
  { name: "comparison: !== becomes ===", change: replaced(/ !== /u, " === ") },
  { name: "logic: && becomes ||", change: replaced(/ && /u, " || ") },
  { name: "logic: || becomes &&", change: replaced(/ \|\| /u, " && ") },
  { name: "off by one: + 1 dropped", change: replaced(/ \+ 1\b(?!\.)/u, "") },
  { name: "off by one: - 1 dropped", change: replaced(/ - 1\b(?!\.)/u, "") },
  { name: "await dropped", change: replaced(/\bawait (?=[a-z])/u, "void ") },
  { name: "sync dropped", change: replaced(/sync: true/u, "sync: false") },
  { name: "guard dropped", change: replaced(/^( *)if \((.*)\) (return\b.*|throw .*|continue;)$/u, "$1") },
  { name: "error swallowed", change: replaced(/^( +)throw (?!new Error).*;$/u, "$1return undefined as never;") },
  {
    name: "statement dropped",
    change: replaced(
      /^( {4,})(?!return|throw|const |let |break|continue|case|else|if|for|while|super)(?:await |void )?[\w.?[\]]+\(.*\);$/u,
      "$1",
    ),
  },
  { name: "assignment dropped", change: replaced(/^( {4,})this\.[\w.]+ (?:=|\+=|\?\?=) [^{[(]*;$/u, "$1") },
  { name: "max becomes min", change: replaced(/Math\.max\(/u, "Math.min(") },
  { name: "min becomes max", change: replaced(/Math\.min\(/u, "Math.max(") },
  {
    name: "order swapped",
    change: (line, next) => {
      const statement = /^ {4,}(?:await )?[\w.]+\(.*\);$/u;
      return statement.test(line) && statement.test(next) ? `${next}\n${line}` : undefined;
    },
  },
];

/** What says nothing to a machine: logs, metrics, texts, types. */
const idle =
  /^\s*(?:\/\/|\*|\/\*|import|export (?:type|interface)|readonly |\| )|\.log\.|log\.(?:debug|info|warn|error)|metrics\.|observe\(|\bcheck\(|^\s*`/u;

/** Every mutation there is, in the order of files and lines. */
export function generate(): GeneratedMutation[] {
  const found: GeneratedMutation[] = [];
  const seen = new Map<string, number>();
  for (const folder of folders) {
    for (const name of readdirSync(join(source, folder)).sort()) {
      if (!name.endsWith(".ts") || name === "index.ts" || name === "describe.ts" || name === "metrics.ts") continue;
      const file = `${folder}/${name}`;
      const lines = readFileSync(join(source, file), "utf8").split("\n");
      lines.forEach((before, at) => {
        if (idle.test(before)) return;
        for (const { name: rule, change } of rules) {
          const after = change(before, lines[at + 1] ?? "");
          if (after === undefined || after === before) continue;
          const alike = `${file} ${rule} ${before.trim()}`;
          const nth = (seen.get(alike) ?? 0) + 1;
          seen.set(alike, nth);
          found.push({ file, line: at + 1, rule, before, after, nth });
        }
      });
    }
  }
  return found;
}

/** A file's text with a mutation in. @throws Error if the file has changed since it was generated */
export function applyMutation(text: string, { line, before, after, rule }: GeneratedMutation): string {
  const lines = text.split("\n");
  if (lines[line - 1] !== before) throw new Error(`line ${line} is not what it was`);
  lines.splice(line - 1, rule === "order swapped" ? 2 : 1, after);
  return lines.join("\n");
}

/** What names it in the results, across changes of lines above. */
export function nameOf({ file, rule, before, nth }: GeneratedMutation): string {
  return `${file} | ${rule} | ${before.trim()}${nth === 1 ? "" : ` | ${nth}`}`;
}
