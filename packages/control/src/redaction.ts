/** Passwords go in and never come out. What comes out keeps the user's name, and may be sent back as it is. */
import type { RegistryAuth, RegistryCredential } from "@warren/api";

export function redactCredential(credential: RegistryCredential): RegistryCredential {
  const { auth } = credential;
  return { ...credential, auth: auth && { username: auth.username, password: "" } };
}

/** A credential as it was given out, with the password that is kept; another as it is. */
export function restoreAuth(given: RegistryAuth | undefined, kept: RegistryAuth | undefined): RegistryAuth | undefined {
  const isEcho = given?.password === "" && given.username === kept?.username;
  return isEcho ? kept : given;
}
