/** A daemon's or a user's key with its certificate, and the authorities that it trusts; PEM. */
export interface Credentials {
  /** The certificate, then whatever leads from it to a root. */
  readonly cert: string;
  readonly key: string;
  /** Every root that is trusted now. */
  readonly ca: string;
}

/**
 * Credentials that are renewed while they are used. Whoever dials or takes a connection asks for the current ones then; what
 * is connected stays so. `current` returns the same object until they change, and another one afterwards.
 */
export interface CredentialSource {
  current(): Credentials;
}

/** Credentials that never change. */
export function fixedCredentials(credentials: Credentials): CredentialSource {
  return { current: () => credentials };
}
