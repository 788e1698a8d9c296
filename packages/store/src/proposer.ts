/** The seam to consensus. `proposerContract` in `@warren/store/testing` says what every one of them does. */
export interface Proposer {
  /**
   * Resolves once the command is committed and applied to this manager's state machine, with what `apply` answered.
   *
   * The command's log entry is of `term`, or there is none: it is not handed to another manager.
   *
   * @throws StoreError `STORE_NOT_LEADER` and `STORE_UNAVAILABLE`: it is not applied and will not be;
   *   `STORE_OUTCOME_UNKNOWN`: it may be
   */
  propose(command: Uint8Array, term: number): Promise<Uint8Array>;
  /**
   * The barrier of a linearizable read, on any manager: resolves once all that was applied anywhere before the call is
   * applied here.
   *
   * @throws StoreError `STORE_UNAVAILABLE`
   */
  read(): Promise<void>;
  /** The manager that leads, as far as this one knows; undefined if none is known. */
  leader(): string | undefined;
}
