/** The commands `simple`, `enter-joint` and `leave-joint`: one configuration after another. */
import { RaftError } from "../../../src/core/index.ts";
import { Changer, type Change } from "../../../src/core/changer.ts";
import { formatConfiguration, formatProgress, Tracker } from "../../../src/core/tracker.ts";
import type { ConfChangeSingle, ConfChangeType } from "../../../src/core/index.ts";
import { isTrue, type Directive } from "./transcript.ts";

const letters: Readonly<Record<string, ConfChangeType>> = {
  v: "ConfChangeAddNode",
  l: "ConfChangeAddLearnerNode",
  r: "ConfChangeRemoveNode",
  u: "ConfChangeUpdateNode",
};

/** `v1 l2 r3 u4`, as changes; what can't be parsed is an Error. */
export function parseChanges(text: string): ConfChangeSingle[] {
  const tokens = text.trim().split(" ");
  if (tokens[0] === "") return [];
  return tokens.map((token) => {
    if (token.length < 2) throw new Error(`unknown token ${token}`);
    const type = letters[token[0] as string];
    if (type === undefined) throw new Error(`unknown input: ${token}`);
    const digits = token.slice(1);
    if (!/^\d+$/u.test(digits)) throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(digits)}: invalid syntax`);
    return { type, nodeId: Number(digits) };
  });
}

export function confChangeRunner(): (directive: Directive) => string {
  const tracker = new Tracker(10, Number.POSITIVE_INFINITY);
  let commands = 0;
  return (directive) => {
    const changer = new Changer(tracker, commands++);
    try {
      const { config, progress } = take(changer, directive);
      tracker.switchTo(config, progress);
    } catch (error) {
      if (RaftError.is(error, "RAFT_CONF_CHANGE_INVALID") || !RaftError.is(error)) return (error as Error).message;
      throw error;
    }
    return `${formatConfiguration(tracker.config)}\n${formatProgress(tracker.progress)}`.trimEnd();
  };
}

function take(changer: Changer, { command, args, input }: Directive): Change {
  const changes = parseChanges(input);
  switch (command) {
    case "simple":
      return changer.simple(changes);
    case "enter-joint":
      return changer.enterJoint(isTrue(args.find(({ key }) => key === "autoleave")?.values[0]), changes);
    case "leave-joint":
      if (changes.length > 0) throw new Error("this command takes no input");
      return changer.leaveJoint();
    default:
      throw new Error("unknown command");
  }
}
