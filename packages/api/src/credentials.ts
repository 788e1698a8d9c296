/** A daemon's or a user's key with its certificate, and the authorities that it trusts; PEM. */
export interface Credentials {
  /** The certificate, then those that lead from it to a root. */
  readonly cert: string;
  readonly key: string;
  /** Every root that is trusted now. */
  readonly ca: string;
}

/**
 * Credentials that may be renewed while they are used. They are read for each new connection, on both sides; open
 * connections stay. `current` returns the same object until they change, and a new one afterwards.
 */
export interface CredentialSource {
  current(): Credentials;
}

/** Credentials that never change. */
export function fixedCredentials(credentials: Credentials): CredentialSource {
  return { current: () => credentials };
}
