/**
 * The level of formats: one integer for all that is written to the log, snapshots, wire and records.
 *
 * A program reads every level from `minLevel` up and keeps fields that it does not know. The cluster's active level is in
 * the store and rises once every manager can write the next one; the proposer refuses a write that needs a higher level.
 */
export const level = 1;
export const minLevel = 1;
