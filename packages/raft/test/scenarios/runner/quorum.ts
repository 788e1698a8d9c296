/** The commands `committed` and `vote`: what a quorum of a majority or joint configuration has, or decides. */
import {
  describeIndexes,
  jointCommitted,
  jointVote,
  jointVoters,
  majorityCommitted,
  majorityVote,
  type AckedIndexer,
} from "../../../src/core/quorum.ts";
import type { Directive } from "./transcript.ts";

type Voters = ReadonlySet<number>;

export function runQuorum(directive: Directive): string {
  const { incoming, outgoing, joint, observed } = parse(directive);
  const config = { incoming, outgoing };
  const isVote = directive.command === "vote";
  const voters = jointVoters(config);
  if (voters.length !== observed.length) {
    const shown = observed.map((value) => ({ _: "0", n: "1", y: "2" })[value] ?? value);
    return `error: mismatched input (explicit or _) for voters map[${voters.map((id) => `${id}:{}`).join(" ")}]: [${shown.join(" ")}]`;
  }
  // Values belong to the voters in the order in which the two lists name them.
  const values = new Map<number, string>();
  for (const [at, id] of [...incoming, ...[...outgoing].filter((id) => !incoming.has(id))].entries()) {
    if (observed[at] !== "_") values.set(id, observed[at] as string);
  }
  return isVote ? vote(config, joint, values) : committed(config, joint, values);
}

function parse({ args }: Directive): {
  incoming: Voters;
  outgoing: Voters;
  joint: boolean;
  observed: readonly string[];
} {
  const list = (key: string): readonly string[] => args.find((arg) => arg.key === key)?.values ?? [];
  const unknown = args.find(({ key }) => !["cfg", "cfgj", "idx", "votes"].includes(key));
  if (unknown !== undefined) throw new Error(`unknown argument ${unknown.key}`);
  const outgoing = list("cfgj").filter((id) => id !== "zero");
  return {
    incoming: new Set(list("cfg").map(Number)),
    outgoing: new Set(outgoing.map(Number)),
    joint: list("cfgj").length > 0,
    observed: [...list("idx"), ...list("votes")],
  };
}

function vote(config: { incoming: Voters; outgoing: Voters }, joint: boolean, values: Map<number, string>): string {
  const votes = new Map([...values].map(([id, value]) => [id, value === "y"]));
  if (!joint) return majorityVote(config.incoming, votes);
  const result = jointVote(config, votes);
  const mirrored = jointVote({ incoming: config.outgoing, outgoing: config.incoming }, votes);
  return mirrored === result ? result : `${mirrored} <-- via symmetry\n${result}`;
}

function committed(
  config: { incoming: Voters; outgoing: Voters },
  joint: boolean,
  values: Map<number, string>,
): string {
  const acked = indexer(new Map([...values].map(([id, value]) => [id, Number(value)])));
  const { incoming, outgoing } = config;
  const index = joint ? jointCommitted(config, acked) : majorityCommitted(incoming, acked);
  const others: [string, number][] = joint
    ? [["via symmetry", jointCommitted({ incoming: outgoing, outgoing: incoming }, acked)]]
    : [
        ["via alternative computation", byCounting(incoming, acked)],
        ["via zero-joint quorum", jointCommitted({ incoming, outgoing: new Set() }, acked)],
        ["via self-joint quorum", jointCommitted({ incoming, outgoing: incoming }, acked)],
        ...overlays(incoming, acked, index),
      ];
  const disagreeing = others
    .filter(([, other]) => other !== index)
    .map(([how, other]) => `${show(other)} <-- ${how}\n`);
  return describeIndexes(jointVoters(config), acked) + disagreeing.join("") + show(index);
}

/** The same by brute force: the highest index that enough voters have. */
function byCounting(voters: Voters, acked: AckedIndexer): number {
  if (voters.size === 0) return Number.POSITIVE_INFINITY;
  const indexes = [...voters].map((id) => acked.ackedIndex(id) ?? 0);
  const reached = indexes.filter((index) => indexes.filter((other) => other >= index).length > voters.size / 2);
  return Math.max(0, ...reached);
}

/** A voter behind the committed index may fall further behind without moving it. */
function overlays(voters: Voters, acked: AckedIndexer, index: number): [string, number][] {
  return [...voters].flatMap((id) => {
    const own = acked.ackedIndex(id) ?? 0;
    if (own === 0 || own >= index) return [];
    return [own - 1, 0].map((lower): [string, number] => [
      `overlaying ${id}->${lower}`,
      majorityCommitted(voters, { ackedIndex: (voter) => (voter === id ? lower : acked.ackedIndex(voter)) }),
    ]);
  });
}

function indexer(indexes: ReadonlyMap<number, number>): AckedIndexer {
  return { ackedIndex: (id) => indexes.get(id) };
}

function show(index: number): string {
  return index === Number.POSITIVE_INFINITY ? "∞" : String(index);
}
