/** The seam to consensus. `proposerContract` of `@warren/store/testing` has the cases that every implementation passes. */
export interface Proposer {
  /**
   * Resolves once the command is committed and applied to this manager's state machine, with the result of `apply`.
   *
   * The command's log entry is of `term`, or there is none: it is not forwarded to another manager.
   *
   * @throws StoreError `STORE_NOT_LEADER` and `STORE_UNAVAILABLE`: it is not applied and never will be;
   *   `STORE_OUTCOME_UNKNOWN`: it may be applied or not
   */
  propose(command: Uint8Array, term: number): Promise<Uint8Array>;
  /**
   * The barrier of a linearizable read, on any manager: resolves once all that was applied anywhere before the call is
   * applied here.
   *
   * @throws StoreError `STORE_UNAVAILABLE`
   */
  read(): Promise<void>;
  /** The manager that leads, as far as this one knows; undefined where none is known. */
  leader(): string | undefined;
}
