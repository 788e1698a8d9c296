/** What is known of a network's faults by their codes, in words. */
const faults: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was cut",
  EPIPE: "the connection was cut",
  UND_ERR_SOCKET: "the connection was cut",
  EACCES: "permission denied",
  ETIMEDOUT: "it does not answer in time",
  UND_ERR_CONNECT_TIMEOUT: "it does not answer in time",
  EHOSTUNREACH: "there is no way to that host",
  ENETUNREACH: "there is no way to that network",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "its name can't be looked up now",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is not trusted on this machine",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not trusted on this machine",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is not trusted on this machine",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not trusted on this machine",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  "bad port": "its port is one that web clients refuse to connect to",
};

/** Why there is no connection, of an error's text or code; undefined where that is not known. */
export function networkFault(text: string): string | undefined {
  const known = Object.keys(faults).find((code) => text.includes(code));
  return known === undefined ? undefined : faults[known];
}
