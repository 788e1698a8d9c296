/** What every `CredentialSource` must do. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { assert } from "@warren/std";
import type { ContractCase } from "@warren/std/testing";
import type { CredentialSource } from "../credentials.ts";

export interface CredentialSourceUnderTest {
  readonly source: CredentialSource;
  /** Has them renewed; undefined of a source whose credentials never change. */
  readonly renew: (() => Promise<void>) | undefined;
}

function fits(source: CredentialSource): void {
  const { cert, key, ca } = source.current();
  const leaf = new X509Certificate(cert);
  assert(leaf.checkPrivateKey(createPrivateKey(key)), "the key is the certificate's");
  const roots = ca.split(/(?<=-----END CERTIFICATE-----)\s*/).filter((text) => text.includes("BEGIN"));
  assert(roots.length > 0, "a root is trusted");
  for (const root of roots) assert(new X509Certificate(root).ca, "what is trusted is an authority");
}

export const credentialSourceContract: readonly ContractCase<CredentialSourceUnderTest>[] = [
  {
    title: "has a certificate with its key, and the authorities that are trusted",
    async run({ source }) {
      fits(source);
    },
  },
  {
    title: "returns the same object until they change, and another one afterwards, as whole",
    async run({ source, renew }) {
      const before = source.current();
      assert(source.current() === before, "they have not changed");
      if (renew === undefined) return;
      await renew();
      const after = source.current();
      assert(after !== before && after.key !== before.key, "they have changed");
      assert(source.current() === after, "and not again");
      fits(source);
    },
  },
];
