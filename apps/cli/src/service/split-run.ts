/** Docker's order of words: flags, an image, and then the container's command, with flags of its own. Pure. */

interface FlagShape {
  readonly type: string;
  readonly char?: string | undefined;
}

/**
 * @param flags of the command and those of all commands, by name
 */
export function splitAtCommand(
  argv: readonly string[],
  flags: Readonly<Record<string, FlagShape>>,
): { readonly own: string[]; readonly command: string[] } {
  const own: string[] = [];
  let at = 0;
  for (; at < argv.length; at += 1) {
    const word = argv[at] ?? "";
    own.push(word);
    if (word === "--" || word === "-" || !word.startsWith("-")) break;
    if (takesNext(word) && at + 1 < argv.length) own.push(argv[(at += 1)] ?? "");
  }
  const command = argv.slice(at + 1);
  // Between an image and its command `--` may stand, as with `service create`.
  return { own, command: command[0] === "--" ? command.slice(1) : command };

  /** Whether the flag's value is the next word: not where it is `--flag=value`, or `-eNAME`. */
  function takesNext(word: string): boolean {
    if (word.startsWith("--")) {
      const name = word.slice(2);
      return Object.hasOwn(flags, name) && flags[name]?.type === "option";
    }
    const char = word.slice(1);
    return Object.values(flags).some((flag) => flag.char === char && flag.type === "option");
  }
}
