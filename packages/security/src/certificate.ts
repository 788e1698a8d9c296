/**
 * The names in a certificate. Three fields name the same node or user:
 *
 *     subject   CN = node id or user's name, O = cluster id, OU = role
 *     DNS       NAME.CLUSTER.warren, and of a manager also manager.CLUSTER.warren, so that clients check one name
 *     URI       spiffe://CLUSTER/node/NAME, or …/user/NAME
 *
 * A certificate in which they differ, or which has further names, is refused.
 */
import type { X509Certificate } from "node:crypto";

/** `client` is a user; the others are daemons of a node. */
export const certificateRoles = ["manager", "worker", "client"] as const;
export type CertificateRole = (typeof certificateRoles)[number];

/** What a certificate claims. Whether the node or user is still one of the cluster, the store decides. */
export interface CertificateFacts {
  /** A node's id, or a user's name. */
  readonly name: string;
  readonly clusterId: string;
  readonly role: CertificateRole;
  /** Hexadecimal, as OpenSSL prints it. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** What a name or a cluster id is made of: a label of DNS. */
const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** The facts of a certificate; undefined if its names are not of the form above. Its signature is not checked. */
export function certificateFacts(certificate: X509Certificate): CertificateFacts | undefined {
  const { CN: name, O: clusterId, OU: role } = certificate.toLegacyObject().subject as unknown as SubjectFields;
  if (!isLabel(name) || !isLabel(clusterId) || !isRole(role)) return undefined;
  const names = new Set(certificate.subjectAltName?.split(", "));
  const expected = namesOf(name, clusterId, role);
  if (names.size !== expected.length || !expected.every((each) => names.has(each))) return undefined;
  const { serialNumber: serial, validFromDate: notBefore, validToDate: notAfter } = certificate;
  return { name, clusterId, role, serial, notBefore, notAfter };
}

/** A field that a subject has twice is an array here. */
interface SubjectFields {
  readonly CN?: unknown;
  readonly O?: unknown;
  readonly OU?: unknown;
}

/** The alternative names of a certificate, as OpenSSL writes them. */
export function namesOf(name: string, clusterId: string, role: CertificateRole): readonly string[] {
  const kind = role === "client" ? "user" : "node";
  return [
    `DNS:${name}.${clusterId}.warren`,
    ...(role === "manager" ? [`DNS:manager.${clusterId}.warren`] : []),
    `URI:spiffe://${clusterId}/${kind}/${name}`,
  ];
}

function isLabel(value: unknown): value is string {
  return typeof value === "string" && label.test(value);
}

function isRole(value: unknown): value is CertificateRole {
  return (certificateRoles as readonly unknown[]).includes(value);
}
