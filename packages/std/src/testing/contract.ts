/** A case of a seam's contract, for any test runner: it fails by a throw. Each implementation runs every case. */
export interface ContractCase<T> {
  readonly title: string;
  readonly run: (subject: T) => Promise<void>;
}
