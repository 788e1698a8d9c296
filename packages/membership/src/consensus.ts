/** This manager's member of the Raft group, with its log on disk. */
import { mkdir, readdir } from "node:fs/promises";
import { level, minLevel } from "@warren/api/model";
import {
  levels,
  MemoryNetwork,
  openFileDisk,
  openLogStorage,
  RaftError,
  startRaftNode,
  type RaftNode,
  type Levels,
  type StateMachine,
  type Tags,
} from "@warren/raft";
import { assert, errorText, newId, type Clock, type Logger, type Metrics, type Random } from "@warren/std";
import { StoreError } from "@warren/store";
import { MembershipError } from "./errors.ts";
import type { Identity } from "./identity-file.ts";

/** The only member's id in the group. */
const memberId = 1;

export interface ConsensusDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly fsm: StateMachine;
}

/** Whether `directory` has any file of a log. */
export async function hasLog(directory: string): Promise<boolean> {
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return entries.length > 0;
}

/**
 * Opens the log in `directory`, or creates it for a cluster that is being founded. Resolves once all acknowledged entries
 * are applied.
 *
 * @throws MembershipError `MEMBERSHIP_LOG_MISSING`, `MEMBERSHIP_LOG_UNREADABLE`, `MEMBERSHIP_LEVEL_REFUSED`
 */
export async function openConsensus(
  { clock, random, log, metrics, fsm }: ConsensusDependencies,
  directory: string,
  { clusterId, phase, tags }: Identity & { readonly tags: Tags },
): Promise<RaftNode> {
  checkOneLevel(levels, { level, minLevel });
  if (phase === "member" && !(await hasLog(directory))) {
    throw new MembershipError(
      { code: "MEMBERSHIP_LOG_MISSING", path: directory },
      `${directory} is gone or empty, and this manager's cluster had its state there`,
      `put the folder back from a copy; to give the cluster up and begin another: warren cluster leave --force`,
    );
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    const storage = await openLogStorage(await openFileDisk(directory), {
      clusterId,
      nodeId: memberId,
      newIncarnation: () => newId(random),
    });
    // A group of one sends no messages, so its transport connects to no peer.
    const transport = new MemoryNetwork().transport();
    const bootstrap = [{ id: memberId, address: "" }];
    const node = await startRaftNode({ clock, random, log, metrics, storage, transport, fsm }, { bootstrap, tags });
    await applied(node, log);
    return node;
  } catch (cause) {
    const refused = levelRefusal(cause);
    // L20. Nothing is wrong with the folder, so nothing is said of giving it up.
    if (refused !== undefined)
      throw new MembershipError(
        { code: "MEMBERSHIP_LEVEL_REFUSED", path: directory },
        `this program can't take part in the cluster: ${errorText(refused)}`,
        "install the version of Warren that ran here last; nothing was changed",
        { cause },
      );
    // Whatever the failure: callers of this manager get it, and no new log is created in its place.
    throw new MembershipError(
      { code: "MEMBERSHIP_LOG_UNREADABLE", path: directory },
      `the cluster's state in ${directory} can't be read: ${errorText(cause)}`,
      `put the folder back from a copy; to give the cluster up and begin another: warren cluster leave --force`,
      { cause },
    );
  }
}

/**
 * Raft writes at the level that the cluster's state has, so a level is one integer for all formats: a program that had
 * another range for Raft's could raise the one and not the other.
 */
export function checkOneLevel(raft: Levels, program: Levels): void {
  const text = ({ minLevel, level }: Levels): string => `levels ${minLevel} to ${level}`;
  assert(
    raft.level === program.level && raft.minLevel === program.minLevel,
    `this program reads ${text(program)}, and its Raft ${text(raft)}`,
  );
}

/** Resolves once all acknowledged entries are applied; rejects with what ended the member, if that did. */
export async function applied(node: Pick<RaftNode, "read" | "close" | "done">, log: Logger): Promise<void> {
  for (;;) {
    try {
      return void (await node.read());
    } catch (error) {
      // The log was read; there is only no leader yet, as on a slow machine, or a busy disk at boot.
      if (RaftError.is(error, "RAFT_READ_TIMEOUT") || RaftError.is(error, "RAFT_LEADER_CHANGED")) {
        log.warn("still waits for a leader, to have all that was acknowledged", { error });
        continue;
      }
      await node.close();
      throw (await node.done) ?? error;
    }
  }
}

/** The error that refuses a level, if there is one among the causes. */
function levelRefusal(error: unknown): Error | undefined {
  for (let each = error; each instanceof Error; each = each.cause)
    if (StoreError.is(each, "STORE_LEVEL_REFUSED") || RaftError.is(each, "RAFT_LEVEL_UNREADABLE")) return each;
  return undefined;
}
