/** The commands to a cluster. */
import type {
  AnyConfChange,
  Config,
  ConfChangeSingle,
  ConfChangeTransition,
  MessageType,
  Snapshot,
} from "../../../src/core/index.ts";
import { Cluster, CommandError, refusalText, type Recipient } from "./cluster.ts";
import { parseChanges } from "./conf-changes.ts";
import { levels, type Output } from "./output.ts";
import { isTrue, parseCommand, type Directive } from "./transcript.ts";

type Handler = (cluster: Cluster, directive: Directive) => void;

const handlers: Readonly<Record<string, Handler>> = {
  _breakpoint: () => undefined,
  "add-nodes": addNodes,
  campaign: (c, d) => c.member(first(d)).node.campaign(),
  compact: (c, d) => c.compact(first(d), Number(d.args[1]?.key)),
  "deliver-msgs": deliver,
  "process-ready": each("handling Ready", (c, id) => c.processReady(id)),
  "process-append-thread": each("processing append thread", (c, id) => c.processAppendThread(id)),
  "process-apply-thread": each("processing apply thread", (c, id) => c.processApplyThread(id)),
  "log-level": (c, d) => setLevel(c.output, d.args[0]?.key ?? ""),
  "raft-log": (c, d) => c.printLog(first(d)),
  "raft-state": (c) => c.printStates(),
  "set-randomized-election-timeout": (c, d) =>
    c.member(first(d)).node.setRandomizedElectionTimeout(Number(value(d, "timeout"))),
  stabilize,
  status: (c, d) => c.printStatus(first(d)),
  "tick-election": (c, d) => tick(c, first(d), c.member(first(d)).config.electionTicks),
  "tick-heartbeat": (c, d) => tick(c, first(d), c.member(first(d)).config.heartbeatTicks),
  "transfer-leadership": (c, d) => c.member(Number(value(d, "from"))).node.transferLeader(Number(value(d, "to"))),
  "forget-leader": (c, d) => c.member(first(d)).node.forgetLeader(),
  "send-snapshot": (c, d) => {
    const [from, to] = ids(d);
    c.sendSnapshot(from as number, to as number);
  },
  propose: (c, d) => c.member(first(d)).node.propose(new TextEncoder().encode(d.args[1]?.key)),
  "propose-conf-change": proposeConfChange,
  "report-unreachable": (c, d) => {
    const [on, reported] = ids(d);
    if (reported === undefined) {
      throw new CommandError("must specify exactly two node indexes: node on which to report, and reported node");
    }
    c.member(on as number).node.reportUnreachable(reported);
  },
  // Ours; etcd's transcripts have no reads, snapshot reports or stepping down.
  "read-index": (c, d) => {
    if (!c.member(first(d)).node.readIndex(new TextEncoder().encode(d.args[1]?.key))) c.output.line("no leader");
  },
  "report-snapshot": (c, d) => {
    const [on, reported] = ids(d);
    c.member(on as number).node.reportSnapshot(reported as number, value(d, "status") as "finish" | "failure");
  },
  "step-down": (c, d) => c.member(first(d)).node.stepDown(),
};

export const interactionCommands: ReadonlySet<string> = new Set(Object.keys(handlers));

export function interactionRunner(): (directive: Directive) => string {
  const cluster = new Cluster();
  /** Its error, as text. */
  const run = (directive: Directive): string => {
    const handler = handlers[directive.command];
    if (handler === undefined) return "unknown command";
    try {
      handler(cluster, directive);
      return "";
    } catch (thrown) {
      return thrown instanceof CommandError ? thrown.message : refusalText(thrown);
    }
  };
  return (directive) => {
    let error = run(directive);
    for (const next of error === "" ? further(directive) : []) {
      error = run(next);
      if (error === "") continue;
      if (cluster.output.quiet) break;
      cluster.output.write(error);
      error = "";
    }
    if (cluster.output.quiet) return error === "" ? "ok" : error;
    return (cluster.output.take() + error).replace(/\n$/u, "") || "ok";
  };
}

/** A command's input is more commands, a line each, unless it takes an input of its own. */
function further({ command, input, line, ...rest }: Directive): Directive[] {
  if (command === "propose-conf-change" || input === "") return [];
  return input.split("\n").map((text, at) => ({ ...rest, ...parseCommand(text, line + at + 1), input: "" }));
}

function first({ args, command }: Directive): number {
  const id = Number(args[0]?.key);
  if (!Number.isInteger(id)) throw new Error(`${command} names no node`);
  return id;
}

/** The arguments that are bare numbers. */
function ids({ args }: Directive): number[] {
  return args.filter(({ values }) => values.length === 0).map(({ key }) => Number(key));
}

function value(directive: Directive, key: string): string {
  const found = directive.args.find((arg) => arg.key === key)?.values[0];
  if (found === undefined) throw new Error(`${directive.command} lacks ${key}=`);
  return found;
}

function each(what: string, step: (cluster: Cluster, id: number) => void): Handler {
  return (cluster, directive) => {
    const all = ids(directive);
    for (const id of all) {
      if (all.length === 1) {
        step(cluster, id);
      } else {
        cluster.output.line(`> ${id} ${what}`);
        cluster.output.indented(() => step(cluster, id));
      }
    }
  };
}

function addNodes(cluster: Cluster, directive: Directive): void {
  const confState = {
    voters: [] as number[],
    learners: [] as number[],
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  };
  let index = 0;
  let data = new Uint8Array(0);
  const options: { -readonly [K in keyof Config]?: Config[K] } = {};
  for (const { key, values } of directive.args.slice(1)) {
    const only = values[0] ?? "";
    if (key === "voters") confState.voters.push(...values.map(Number));
    else if (key === "learners") confState.learners.push(...values.map(Number));
    else if (key === "index") options.applied = index = Number(only);
    else if (key === "content") data = new TextEncoder().encode(only);
    else if (key === "inflight") options.maxInflightMsgs = Number(only);
    else if (key === "async-storage-writes") options.asyncStorageWrites = isTrue(only);
    else if (key === "prevote") options.preVote = isTrue(only);
    else if (key === "checkquorum") options.checkQuorum = isTrue(only);
    else if (key === "max-committed-size-per-ready") options.maxCommittedSizePerReady = Number(only);
    else if (key === "disable-conf-change-validation") options.disableConfChangeValidation = isTrue(only);
    else if (key === "step-down-on-removal") options.stepDownOnRemoval = isTrue(only);
    else if (key === "read-only") options.readOnlyOption = readOnly(only);
    // Ours:
    else if (key === "max-size-per-msg") options.maxSizePerMsg = Number(only);
    else if (key === "max-inflight-bytes") options.maxInflightBytes = Number(only);
    else if (key === "max-uncommitted-size") options.maxUncommittedEntriesSize = Number(only);
    else if (key === "disable-proposal-forwarding") options.disableProposalForwarding = isTrue(only);
  }
  const snapshot: Snapshot = { metadata: { index, term: index === 0 ? 0 : 1, confState }, data };
  cluster.add(first(directive), options, snapshot);
}

function readOnly(option: string): "safe" | "lease" {
  if (option === "safe") return "safe";
  if (option === "lease-based") return "lease";
  throw new CommandError(`invalid read-only option ${JSON.stringify(option)}`);
}

function deliver(cluster: Cluster, { args }: Directive): void {
  const recipients: Recipient[] = [];
  let type: MessageType | undefined;
  for (const { key, values } of args) {
    if (values.length === 0) recipients.push({ id: Number(key), drop: false });
    else if (key === "drop") recipients.push(...values.map((id) => ({ id: Number(id), drop: true })));
    else if (key === "type") type = values[0] as MessageType;
  }
  if (cluster.deliver(recipients, type) === 0) cluster.output.line("no messages");
}

function setLevel(output: Output, name: string): void {
  const level = levels.findIndex((known) => known === name.toUpperCase());
  if (level < 0) throw new CommandError(`log levels must be either of [${levels.join(" ")}]`);
  output.level = level;
}

function stabilize(cluster: Cluster, directive: Directive): void {
  const before = cluster.output.level;
  try {
    for (const { key, values } of directive.args) if (key === "log-level") setLevel(cluster.output, values[0] ?? "");
    cluster.stabilize(ids(directive));
  } finally {
    cluster.output.level = before;
  }
}

function tick(cluster: Cluster, id: number, ticks: number | undefined): void {
  for (let i = 0; i < (ticks ?? 0); i++) cluster.member(id).node.tick();
}

const transitions: Readonly<Record<string, ConfChangeTransition>> = {
  auto: "ConfChangeTransitionAuto",
  implicit: "ConfChangeTransitionJointImplicit",
  explicit: "ConfChangeTransitionJointExplicit",
};

function proposeConfChange(cluster: Cluster, directive: Directive): void {
  let v1 = false;
  let transition: ConfChangeTransition = "ConfChangeTransitionAuto";
  for (const { key, values } of directive.args.slice(1)) {
    const only = values[0] ?? "";
    if (key === "v1") v1 = isTrue(only);
    else if (key === "transition") transition = transitions[only] ?? unknown(`transition ${only}`);
    else unknown(`command ${key}`);
  }
  const changes = changesOf(directive.input);
  let change: AnyConfChange = { version: 2, transition, changes };
  if (v1) {
    const [only] = changes;
    if (only === undefined || changes.length > 1 || transition !== "ConfChangeTransitionAuto") {
      throw new CommandError("v1 conf change can only have one operation and no transition");
    }
    change = { version: 1, ...only };
  }
  cluster.member(first(directive)).node.proposeConfChange(change);
}

function changesOf(input: string): ConfChangeSingle[] {
  try {
    return parseChanges(input);
  } catch (error) {
    throw new CommandError((error as Error).message);
  }
}

function unknown(what: string): never {
  throw new CommandError(`unknown ${what}`);
}
