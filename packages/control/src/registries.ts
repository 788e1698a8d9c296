import { RegistriesDefinition, RegistryCredential } from "@warren/api";
import { checkRegistryLogin } from "@warren/api/spec";
import { bind, type BoundService } from "@warren/api/server";
import { canonicalRegistry } from "@warren/std";
import type { View } from "@warren/store";
import { Access, checkRef, idOf, resolve } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { notFound, tooMany } from "./failures.ts";
import { limits } from "./limits.ts";
import { LoginChecker, tryAgain } from "./login-check.ts";
import { pageOf } from "./pages.ts";
import { redactCredential, restoreAuth } from "./redaction.ts";

export function registries(access: Access, dependencies: ControlDependencies): BoundService {
  const checker = new LoginChecker(dependencies);
  return bind(RegistriesDefinition, {
    async login({ registry, auth }, { signal }) {
      const read = (view: View) => {
        const [kept] = view.find("registries", "name", canonicalRegistry(registry));
        return { kept, login: checkRegistryLogin({ registry, auth: restoreAuth(auth, kept?.auth) }) };
      };
      const check = await checker.check(access.view(), read(access.view()).login, signal);
      const id = await access.update(signal, (tx) => {
        // Read again: what is kept may be another since the check.
        const { kept, login } = read(tx);
        tryAgain(tx, login.registry);
        if (kept !== undefined) {
          const { username, password } = login.auth;
          if (kept.auth?.username === username && kept.auth.password === password) return idOf(kept);
          tx.update("registries", { ...kept, auth: login.auth });
          return idOf(kept);
        }
        if (tx.list("registries").length >= limits.registries) throw tooMany("registries", limits.registries);
        return tx.create("registries", { meta: undefined, ...login });
      });
      return { ...redactCredential(resolve(access.view(), "registries", id)), check };
    },

    list({ page }) {
      const { items, nextPageToken } = pageOf(page, {
        of: "registries",
        objects: access.view().list("registries"),
        keyOf: ({ registry }) => registry,
        bytesOf: (credential) => RegistryCredential.encode(credential).finish().length,
      });
      return { registries: items.map(redactCredential), nextPageToken };
    },

    async logout({ registry }, { signal }) {
      checkRef(registry, "registry");
      await access.update(signal, (tx) => {
        const [kept] = tx.find("registries", "name", canonicalRegistry(registry));
        if (kept === undefined) throw notFound("registries", registry);
        tx.delete("registries", idOf(kept));
      });
      return {};
    },
  });
}
