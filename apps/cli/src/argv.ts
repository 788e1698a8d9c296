/** What a command line asks for: a command, its version, help, or something that is nearly a command. Pure. */

export type Route =
  | { readonly kind: "run"; readonly id: string; readonly argv: readonly string[] }
  | { readonly kind: "version" }
  /** Of a command or topic; of all of them without words. `all`: every flag. */
  | { readonly kind: "help"; readonly words: readonly string[]; readonly all: boolean }
  /** `error` and what to do about it. */
  | { readonly kind: "unknown"; readonly error: string };

/** Words that people know from elsewhere → ours. */
const words: Readonly<Record<string, string>> = { ls: "list", rm: "delete", ps: "tasks", swarm: "cluster" };

/** Whole commands that go by another name, too. */
const others: Readonly<Record<string, string>> = {
  info: "cluster info",
  init: "cluster init",
  login: "registry login",
  logout: "registry logout",
  ps: "task list",
  logs: "service logs",
  exec: "task exec",
  images: "image list",
  scale: "service scale",
  restart: "service restart",
  wait: "service wait",
  "node delete": "node remove",
  "service remove": "service delete",
  "network remove": "network delete",
};

/** Docker's commands for what is not here under another name. */
const elsewhere: Readonly<Record<string, string>> = {
  stack: "Compose files are not read yet",
  deploy: "Compose files are not read yet",
  compose: "Compose files are not read yet",
  secret: "secrets are not there yet",
  config: "configs are not there yet",
  "volume create": "volumes are made where a service mounts them: --mount type=volume,src=NAME,dst=/PATH",
  "volume prune": "volumes are deleted by name: warren volume delete NAME",
  container: "containers are tasks here: warren task list",
  "image pull": "images are pulled by themselves",
  "image delete": "images that no task uses are removed by themselves, or at once: warren image prune",
  rmi: "images that no task uses are removed by themselves, or at once: warren image prune",
  pull: "images are pulled by themselves",
  build: "images come from a registry: build and push them with another program",
  "cluster join": "a cluster is one machine for now",
  "cluster join-token": "a cluster is one machine for now",
  "node promote": "a cluster is one machine for now",
  "node demote": "a cluster is one machine for now",
  "node tasks": "warren task list --node NODE",
};

const helpWords = ["help", "--help", "-h", "--help-all"];

/** @param ids of all commands: `service:create` */
export function routeArgv(argv: readonly string[], ids: readonly string[]): Route {
  const { globals, before, rest } = partsOf(argv);
  const [first] = before;
  if (first === undefined || (helpWords.includes(first) && first !== "help"))
    return { kind: "help", words: [], all: first === "--help-all" };
  if (["version", "--version", "-v"].includes(first)) return { kind: "version" };
  if (first === "help") {
    const topic = before.slice(1).filter((word) => !word.startsWith("-"));
    const command = commandOf(topic, ids);
    if (command === undefined && topic.length > 0 && !isTopic(topic, ids)) return unknown(topic, ids);
    return { kind: "help", words: command?.id.split(":") ?? topic.map(ours), all: argv.includes("--help-all") };
  }
  const command = commandOf(before, ids);
  const asked = (rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest).find((word) =>
    helpWords.slice(1).includes(word),
  );
  if (command === undefined) {
    const topic = before.map(ours);
    if (isTopic(topic, ids)) return { kind: "help", words: topic, all: false };
    return unknown(before, ids);
  }
  const left = [...before.slice(command.length), ...rest];
  // What follows the name of a command for a container is that command's.
  const forContainer = command.id === "task:exec" || command.id === "run";
  if (asked !== undefined && !forContainer)
    return { kind: "help", words: command.id.split(":"), all: asked === "--help-all" };
  if (forContainer && (left.length === 0 || helpWords.slice(1).includes(left[0] ?? "")))
    return { kind: "help", words: command.id.split(":"), all: left[0] === "--help-all" };
  return { kind: "run", id: command.id, argv: [...globals, ...left] };
}

interface Parts {
  /** Global flags that stand before the command. */
  readonly globals: readonly string[];
  /** The words up to the first flag after them. */
  readonly before: readonly string[];
  readonly rest: readonly string[];
}

function partsOf(argv: readonly string[]): Parts {
  const globals: string[] = [];
  let at = 0;
  for (; at < argv.length; at += 1) {
    const word = argv[at] ?? "";
    if (word === "--host" || word === "-o" || word === "--output") globals.push(word, argv[(at += 1)] ?? "");
    else if (word === "--verbose" || /^--(host|output)=/.test(word)) globals.push(word);
    else break;
  }
  const own = argv.slice(at);
  const flag = own.findIndex((word, i) => word.startsWith("-") && !(i === 0 && isDoor(word)));
  return { globals, before: flag === -1 ? own : own.slice(0, flag), rest: flag === -1 ? [] : own.slice(flag) };
}

function isDoor(word: string): boolean {
  return helpWords.includes(word) || word === "--version" || word === "-v";
}

function ours(word: string): string {
  return Object.hasOwn(words, word) ? (words[word] ?? word) : word;
}

interface Named {
  readonly id: string;
  /** Of its words on the command line. */
  readonly length: number;
}

/** The command that the first words name, ours or another's. */
function commandOf(line: readonly string[], ids: readonly string[]): Named | undefined {
  for (const length of [2, 1]) {
    if (line.length < length) continue;
    const typed = line.slice(0, length).join(" ");
    const translated = line.slice(0, length).map(ours).join(" ");
    for (const text of [typed, translated]) {
      const id = (Object.hasOwn(others, text) ? (others[text] ?? text) : text).replaceAll(" ", ":");
      if (ids.includes(id)) return { id, length };
    }
  }
  return undefined;
}

function isTopic(line: readonly string[], ids: readonly string[]): boolean {
  return line.length === 1 && ids.some((id) => id.startsWith(`${line[0]}:`));
}

function unknown(line: readonly string[], ids: readonly string[]): Route {
  const text = line.slice(0, 2).join(" ");
  const hint = [line.slice(0, 2).map(ours).join(" "), line[0] ?? ""].find((each) => Object.hasOwn(elsewhere, each));
  if (hint !== undefined) return { kind: "unknown", error: `there is no 'warren ${text}': ${elsewhere[hint]}` };
  const known = [...ids.map((id) => id.replaceAll(":", " ")), ...Object.keys(others)];
  const near = nearest(text, known) ?? nearest(line[0] ?? "", known);
  const guess = near === undefined ? "" : `; did you mean 'warren ${near}'?`;
  return { kind: "unknown", error: `'${text}' is not a warren command${guess}` };
}

/** The one of `known` that `text` most likely was to be; undefined where none is near. */
export function nearest(text: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((each) => ({ each, distance: editDistance(text, each) }))
    .toSorted((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(1, Math.floor(text.length / 3)) ? best.each : undefined;
}

/** Letters to insert, delete, replace or swap with the next (Damerau–Levenshtein, optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}
