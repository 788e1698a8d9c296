/** A case of a contract, for any test runner: it fails by a throw. */
export interface ContractCase<T> {
  readonly title: string;
  readonly run: (subject: T) => Promise<void>;
}
