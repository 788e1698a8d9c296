/** The seam to consensus. `proposerContract` in `@warren/store/testing` says what every one of them does. */
export interface Proposer {
  /**
   * Resolves once the command is committed and applied to this manager's state machine, with what `apply` answered.
   *
   * @throws StoreError `STORE_NOT_LEADER` and `STORE_UNAVAILABLE`: it is not applied and will not be;
   *   `STORE_OUTCOME_UNKNOWN`: it may be
   */
  propose(command: Uint8Array): Promise<Uint8Array>;
}
