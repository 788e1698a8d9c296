import { X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { certificateFacts, verifyChain, type VerifyOptions } from "@warren/security";
import { createTestAuthority, type IssueOptions, type TestAuthority } from "@warren/security/testing";

const clusterId = "c1";
const day = 86_400_000;
let authority: TestAuthority;
let foreign: TestAuthority;
beforeAll(async () => {
  authority = await createTestAuthority({ clusterId });
  foreign = await createTestAuthority({ clusterId });
});

async function leaf(options: Partial<IssueOptions> = {}, by: TestAuthority = authority): Promise<X509Certificate> {
  return new X509Certificate((await by.issue({ name: "w2", role: "worker", ...options })).cert);
}

function judge(chain: readonly X509Certificate[], more: Partial<VerifyOptions> = {}): ReturnType<typeof verifyChain> {
  return verifyChain(chain, { roots: [authority.root], clusterId, purpose: "client", nowMs: Date.now(), ...more });
}

describe("the facts of a certificate", () => {
  test("are its names, cluster, role and serial number", async () => {
    const notAfter = new Date(Math.floor(Date.now() / 1_000) * 1_000 + day);
    const facts = judge([await leaf({ notAfter })]);
    expect(facts).toMatchObject({ name: "w2", clusterId, role: "worker", notAfter });
    expect(facts).toHaveProperty("serial", expect.stringMatching(/^[0-9A-F]{32}$/));
  });

  test("a manager's certificate is valid for a server too, under the name that every manager has", async () => {
    const manager = await leaf({ name: "m1", role: "manager" });
    expect(judge([manager], { purpose: "server" })).toMatchObject({ role: "manager" });
    expect(manager.checkHost("manager.c1.warren")).toBe("manager.c1.warren");
  });

  test.each<[string, Partial<IssueOptions>]>([
    ["another DNS name", { names: ["DNS:w3.c1.warren", "URI:spiffe://c1/node/w2"] }],
    ["one name more", { names: ["DNS:w2.c1.warren", "DNS:manager.c1.warren", "URI:spiffe://c1/node/w2"] }],
    ["a user's URI on a worker", { names: ["DNS:w2.c1.warren", "URI:spiffe://c1/user/w2"] }],
    ["no names", { names: [] }],
    ["a name that is no label", { name: "w2.c1" }],
    ["a role that there is not", { role: "root" as "worker" }],
  ])("with %s there are none", async (_, options) => {
    const certificate = await leaf(options);
    expect(certificateFacts(certificate)).toBeUndefined();
    expect(judge([certificate])).toMatchObject({ refused: "NAMES_INVALID" });
  });
});

describe("a chain is refused", () => {
  test("when there is none", () => {
    expect(judge([])).toEqual({ refused: "NO_CERTIFICATE", message: "no certificate was shown" });
  });

  test("as of an unknown authority, even one with the same name as ours whose certificate has expired", async () => {
    const old = { notBefore: new Date(Date.now() - 3 * day), notAfter: new Date(Date.now() - day) };
    for (const certificate of [await leaf({}, foreign), await leaf(old, foreign)])
      expect(judge([certificate, foreign.root])).toMatchObject({ refused: "ISSUER_UNKNOWN" });
  });

  test.each<[string, Partial<IssueOptions>, object]>([
    [
      "after its end",
      { notBefore: new Date(0), notAfter: new Date(day) },
      {
        refused: "CERT_HAS_EXPIRED",
        message: "certificate of w2: CERT_HAS_EXPIRED: it was valid until 1970-01-02T00:00:00.000Z",
      },
    ],
    ["before its beginning", { notBefore: new Date(Date.now() + day) }, { refused: "CERT_NOT_YET_VALID" }],
    ["of another cluster", { clusterId: "c2" }, { refused: "CLUSTER_MISMATCH" }],
    ["without the use", { usages: ["serverAuth"] }, { refused: "PURPOSE_INVALID" }],
    ["with another kind of key", { curve: "P-384" }, { refused: "KEY_INVALID" }],
    ["that is an authority", { ca: true }, { refused: "ISSUER_UNKNOWN" }],
  ])("%s", async (_, options, refusal) => {
    expect(judge([await leaf(options)])).toMatchObject(refusal);
  });

  test("when a worker poses as a server", async () => {
    expect(judge([await leaf()], { purpose: "server" })).toMatchObject({ refused: "PURPOSE_INVALID" });
  });

  test("when a node signed it, whatever certificates come with it", async () => {
    // A worker's key signs as if it were an authority's: the certificate names it as issuer, but it is none.
    const worker = await leaf();
    const forged = await leaf({}, foreign);
    expect(judge([forged, worker, foreign.root, authority.root])).toMatchObject({ refused: "ISSUER_UNKNOWN" });
  });

  test("when its authority has expired", async () => {
    const old = await createTestAuthority({ clusterId, notBefore: new Date(0), notAfter: new Date(day) });
    expect(judge([await leaf({}, old)], { roots: [old.root] })).toMatchObject({
      refused: "CERT_HAS_EXPIRED",
      message: expect.stringContaining("its authority was valid until"),
    });
  });

  test("when any one bit of the leaf is changed", async () => {
    const good = await leaf();
    for (let at = 0; at < good.raw.length; at += 3) {
      const bytes = Buffer.from(good.raw);
      bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
      let certificate: X509Certificate;
      try {
        certificate = new X509Certificate(bytes);
      } catch {
        continue; // No certificate at all.
      }
      expect(judge([certificate]), `bit ${at % 8} of byte ${at}`).toHaveProperty("refused");
    }
  });
});

test("a leaf of a new root is accepted where only the old root is trusted, through the cross-signed certificate", async () => {
  const next = await createTestAuthority({ clusterId });
  const cross = await authority.crossSign(next);
  const certificate = await leaf({}, next);
  expect(judge([certificate])).toMatchObject({ refused: "ISSUER_UNKNOWN" });
  expect(judge([certificate, cross])).toMatchObject({ name: "w2" });
  expect(judge([certificate, cross], { roots: [next.root] })).toMatchObject({ name: "w2" });
});

test("the library that signs is not loaded by the main entry", async () => {
  const { execFileSync } = await import("node:child_process");
  const program = `await import("@warren/security"); console.log(process.moduleLoadList.length > 0, Object.keys(globalThis.Reflect).includes("defineMetadata"))`;
  const flags = ["--conditions=warren-source", "--input-type=module-typescript", "--eval", program];
  const cwd = new URL("..", import.meta.url);
  expect(execFileSync(process.execPath, flags, { cwd, encoding: "utf8" }).trim()).toBe("true false");
});
