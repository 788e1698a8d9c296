/**
 * The cluster's state on a replicated log: `Store` for reads, transactions and watches; `StoreStateMachine`, which consensus
 * applies commands to; `Proposer` between the two.
 *
 * - `store.ts`          Store: reads, updates, watches
 * - `transaction.ts`    Transaction: the parameter of an update's `work`
 * - `view.ts`           View: reads of one version
 * - `tables.ts`         Tables and their indexes
 * - `change.ts`         StoreChange, ChangeBatch
 * - `state-machine.ts`  StoreStateMachine: apply, snapshot, restore, watch
 * - `proposer.ts`       Proposer; `raft-proposer.ts` makes one of a raft member
 * - `errors.ts`         StoreError and its codes
 * - `level.ts`          the active level of formats, and when it rises
 * - `history.ts`        points of the cluster's history
 * - `command.ts`        commands: transactions in the log, and applying them
 * - `schema.ts`         the levels and tables that a program knows
 * - `snapshot.ts`       a state as bytes
 * - `state.ts`          all tables at one version; `table.ts`, `sorted-map.ts` one of them
 * - `intern.ts`         decoded objects made ready to store: frozen, with equal parts shared
 * - `testing/`          memoryStore and the Proposer's contract, as `@warren/store/testing`
 */
export { Store, type StoreDependencies, type StoreTerm, type UpdateOptions } from "./store.ts";
export type { StoreOptions } from "./options.ts";
export type { EventInput, Transaction } from "./transaction.ts";
export type { View } from "./view.ts";
export type { ChangeBatch, StoreChange } from "./change.ts";
export type { IndexName, Indexes, TableName, Tables } from "./tables.ts";
export { checkProgramLevel, nextLevel, raiseLevel, type LevelRange, type Program } from "./level.ts";
export { StoreError, type ConflictKind, type StoreFailure } from "./errors.ts";
export type { Proposer } from "./proposer.ts";
export { raftProposer, type RaftLike } from "./raft-proposer.ts";
export { StoreStateMachine, type LogCommand, type Watch, type WatchOptions } from "./state-machine.ts";
