import { rm } from "node:fs/promises";
import { join } from "node:path";
import { level, minLevel } from "@warren/api/model";
import type { RaftNode } from "@warren/raft";
import { newId, serially, type Clock, type Logger, type Metrics, type Random } from "@warren/std";
import { raftProposer, Store, StoreStateMachine } from "@warren/store";
import { hasLog, openConsensus } from "./consensus.ts";
import { lockedRefusal, MembershipError } from "./errors.ts";
import { readIdentity, writeIdentity, type Identity } from "./identity-file.ts";
import { whileLeading, type LeaderWork } from "./leader-work.ts";
import { followActiveLevel, introduce, keepIntroduced, tagsOf, type Introduction } from "./levels.ts";

/** A manager as a member of its cluster. `work` is the app's, from `MembershipDependencies.join`. */
export interface Member<W> {
  readonly clusterId: string;
  readonly managerId: string;
  readonly store: Store;
  readonly work: W;
  /** Whether a leader is known, this manager or another. */
  hasLeader(): boolean;
  /** Resolves once this manager leads for the first time: its store takes writes then. */
  readonly led: Promise<void>;
  /** Resolves when the log has ended by itself, with the error that ended it. */
  readonly ended: Promise<Error | undefined>;
}

/** A manager's part in a cluster. */
export type Part<W> =
  /** It belongs to no cluster. */
  | { readonly kind: "none" }
  /** It belongs to a cluster and can't act as a member until an operator acts; the error has the reason and the remedy. */
  | { readonly kind: "locked"; readonly error: MembershipError }
  | { readonly kind: "member"; readonly member: Member<W> };

export interface MembershipDependencies<W> {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Warren's version, which is written to the cluster's table of managers. */
  readonly version: string;
  /** The id of the node that this machine is, read whenever it may have changed. @default the machine is not a node */
  readonly nodeId?: () => string | undefined;
  /** Creates what the manager serves as a member, and the work that it does while it leads. */
  readonly join: (store: Store) => { readonly work: W; readonly lead: LeaderWork };
}

/** Entries of a manager's folder. */
const identityFile = "identity.json";
const logFolder = "raft";

/**
 * A manager's part in a cluster, read from its folder. A missing file is not treated as a new start: identity and log each
 * require the other.
 */
export class Membership<W> implements AsyncDisposable {
  readonly #dependencies: MembershipDependencies<W>;
  readonly #directory: string;
  readonly #resources = new AsyncDisposableStack();
  readonly #inTurn = serially();
  readonly #failed = Promise.withResolvers<never>();
  #part: Part<W> = { kind: "none" };

  private constructor(dependencies: MembershipDependencies<W>, directory: string) {
    this.#dependencies = dependencies;
    this.#directory = directory;
    // A caller may await it or not.
    this.#failed.promise.catch(() => undefined);
  }

  /** Resolves with the part that the folder has; where it can't be opened, that is `locked`, so that callers get the reason. */
  static async open<W>(dependencies: MembershipDependencies<W>, directory: string): Promise<Membership<W>> {
    const membership = new Membership(dependencies, directory);
    try {
      const identity = await readIdentity(membership.#identityPath);
      if (identity !== undefined) await membership.#enter(identity);
      else if (await hasLog(membership.#logPath)) throw identityMissing(membership.#logPath);
    } catch (error) {
      if (!MembershipError.is(error)) throw error;
      dependencies.log.error("this manager can't act as a member of its cluster", { error, remedy: error.remedy });
      membership.#part = { kind: "locked", error };
    }
    return membership;
  }

  get part(): Part<W> {
    return this.#part;
  }

  /** Rejects with the error that ends the log, if that happens: the manager must then end. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /**
   * Makes this manager the first of a new cluster; `begin` writes the cluster's first state. An interrupted founding
   * continues with the same cluster.
   *
   * @throws ApiError `API_PRECONDITION` of a manager that is locked
   */
  found<R>(begin: (member: Member<W>) => Promise<R>): Promise<R> {
    return this.#inTurn(async () => {
      if (this.#part.kind === "locked") throw lockedRefusal(this.#part.error);
      const { random } = this.#dependencies;
      const known = await readIdentity(this.#identityPath);
      const identity: Identity = known ?? { clusterId: newId(random), managerId: newId(random), phase: "founding" };
      if (known === undefined) await writeIdentity(this.#identityPath, identity);
      const member = this.#part.kind === "member" ? this.#part.member : await this.#enter(identity);
      await member.led;
      const result = await begin(member);
      await writeIdentity(this.#identityPath, { ...identity, phase: "member" });
      return result;
    });
  }

  async #enter(identity: Identity): Promise<Member<W>> {
    const { clock, random, log, metrics, version, nodeId = () => undefined, join: enter } = this.#dependencies;
    await using opened = new AsyncDisposableStack();
    const machine = new StoreStateMachine({ metrics, name: `manager ${identity.managerId}` });
    const { clusterId, managerId } = identity;
    const introduction: Introduction = { managerId, nodeId, version, levels: { level, minLevel } };
    const tags = tagsOf(introduction);
    const node = opened.use(
      await openConsensus({ clock, random, log, metrics, fsm: machine }, this.#logPath, { ...identity, tags }),
    );
    const store = new Store({ clock, random, machine, proposer: raftProposer(node), log, metrics });
    opened.use(followActiveLevel({ store, clock, random, log }, node));
    const { work, lead } = enter(store);
    const led = Promise.withResolvers<void>();
    const start: LeaderWork = async (term, signal, failed) => {
      led.resolve();
      await introduce(store, introduction);
      await using work = new AsyncDisposableStack();
      work.use(keepIntroduced({ store, node, clock, random, log }, introduction));
      work.use(await lead(term, signal, failed));
      return work.move();
    };
    const onLeaderTerm: RaftNode["onLeaderTerm"] = (listener) => node.onLeaderTerm(listener);
    opened.use(whileLeading({ onLeaderTerm, store, clock, random, log }, start));
    const hasLeader = (): boolean => node.leadership().leader !== undefined;
    const member: Member<W> = { clusterId, managerId, store, work, hasLeader, led: led.promise, ended: node.done };
    this.#resources.use(opened.move());
    this.#part = { kind: "member", member };
    void member.ended.then((error) => error !== undefined && this.#failed.reject(error));
    return member;
  }

  get #identityPath(): string {
    return join(this.#directory, identityFile);
  }

  get #logPath(): string {
    return join(this.#directory, logFolder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inTurn(() => this.#resources.disposeAsync());
  }
}

/** Removes a manager's files from its folder. The manager must have ended. */
export async function removeMembership(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

function identityMissing(logPath: string): MembershipError {
  return new MembershipError(
    { code: "MEMBERSHIP_IDENTITY_MISSING", path: logPath },
    `${logPath} has a cluster's state, and the file that names the cluster is missing`,
    `put ${identityFile} back from a copy of this folder; to give the cluster up and begin another: warren cluster leave --force`,
  );
}
