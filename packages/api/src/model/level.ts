/**
 * The level: the one integer that names what may be written to the log, snapshots, wire and records.
 *
 * A program reads every level from `minLevel` up and keeps fields that it does not know. The cluster's active level
 * stands in the store and rises once every manager can; what needs a higher one is refused by the proposer.
 */
export const level = 1;
export const minLevel = 1;
