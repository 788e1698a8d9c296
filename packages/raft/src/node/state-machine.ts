/** One command of the log, for the state machine. */
export interface Command {
  readonly index: number;
  /** The term of its log entry: that of the leader that appended it. */
  readonly term: number;
  /** The proposer's bytes. */
  readonly data: Uint8Array;
}

/** A command's answer, kept with its session so that a repetition gets the same; bytes, as it is part of snapshots. */
export type Result = Uint8Array | undefined;

/**
 * What the log is for. Deterministic: the same commands give the same state and results on every member.
 *
 * It keeps its state in memory: at start it is restored from the newest snapshot and the log after it is applied again,
 * so that it and its applied index never part. One call at a time.
 */
export interface StateMachine {
  /** Applies commands in order; a result for each. A throw stops the node: refuse a command by its result. */
  apply(batch: readonly Command[]): readonly Result[] | Promise<readonly Result[]>;
  /** The state as of this call, read at leisure while later commands are applied. */
  snapshot(): AsyncIterable<Uint8Array>;
  /** Replaces the state. `chunks` throws before its end if the snapshot is damaged. */
  restore(chunks: AsyncIterable<Uint8Array>): Promise<void>;
}
