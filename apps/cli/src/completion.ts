/** What could stand at the cursor, and the scripts that ask. Pure. */

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

export interface CommandShape {
  /** `["service", "create"]`. */
  readonly words: readonly string[];
  /** Names of its arguments, in order. */
  readonly args: readonly string[];
  readonly flags: readonly {
    readonly name: string;
    readonly takesValue: boolean;
    readonly options: readonly string[];
  }[];
}

const kinds = {
  service: "service",
  task: "task",
  node: "node",
  network: "network",
  registry: "registry",
  volume: "volume",
} as const;
type NamedKind = keyof typeof kinds;

export interface Candidates {
  readonly words: readonly string[];
  /** Names of these objects too. */
  readonly names?: NamedKind;
  /** The manager that the line names. */
  readonly host?: string;
}

/** @param line the words after `warren`, the one at the cursor last */
export function candidates(commands: readonly CommandShape[], line: readonly string[]): Candidates {
  const before = line.slice(0, -1);
  const current = line.at(-1) ?? "";
  if (before.includes("--")) return { words: [] };
  const command = commands
    .filter(({ words }) => words.every((word, i) => before[i] === word))
    .toSorted((a, b) => b.words.length - a.words.length)[0];
  const starting = (words: readonly string[]): string[] =>
    [...new Set(words)].filter((word) => word.startsWith(current));
  if (command === undefined) {
    const next = commands
      .filter(({ words }) => before.every((word, i) => words[i] === word))
      .map(({ words }) => words[before.length] ?? "");
    return { words: starting(next).toSorted() };
  }
  const host = valueOf(before, "host");
  const at = host === undefined ? {} : { host };
  const previous = command.flags.find(({ name, takesValue }) => takesValue && before.at(-1) === `--${name}`);
  if (previous !== undefined) {
    const kind = kindOf(previous.name);
    return { words: starting(previous.options), ...(kind && { names: kind }), ...at };
  }
  if (current.startsWith("-")) return { words: starting(command.flags.map(({ name }) => `--${name}`)).toSorted() };
  const kind = command.words.at(-1) === "create" ? undefined : kindOf(command.args[0] ?? "");
  // `why` and `top` take either.
  const either = command.args[0] === "ref" ? "service" : kind;
  return { words: [], ...(either && { names: either }), ...at };
}

function kindOf(name: string): NamedKind | undefined {
  return Object.hasOwn(kinds, name) ? kinds[name as NamedKind] : undefined;
}

function valueOf(words: readonly string[], flag: string): string | undefined {
  const at = words.indexOf(`--${flag}`);
  return at === -1 ? undefined : words[at + 1];
}

/** The script is short: each TAB asks `warren complete`, so it never grows old. */
export function completionScript(shell: Shell): string {
  switch (shell) {
    case "bash":
      return `_warren() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(warren complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _warren warren wrn
`;
    case "zsh":
      return `#compdef warren wrn
_warren() {
  local -a found
  found=(\${(f)"$(warren complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  compadd -a found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _warren warren wrn
`;
    case "fish":
      return `function __warren_complete
  set -l words (commandline -opc) (commandline -ct)
  warren complete -- $words[2..] 2>/dev/null
end
complete -c warren -f -a '(__warren_complete)'
complete -c wrn -f -a '(__warren_complete)'
`;
  }
}
