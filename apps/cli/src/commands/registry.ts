import { readFileSync } from "node:fs";
import { Args, Flags } from "@oclif/core";
import { ListRegistriesResponse } from "@warren/api";
import { toJson } from "../json.ts";
import { listFlags } from "../list-output.ts";
import { pages } from "../pages.ts";
import { UnitError } from "../units.ts";
import { registryColumns } from "../views.ts";
import { WarrenCommand } from "../warren-command.ts";

const registryArg = {
  registry: Args.string({
    required: true,
    description: "Registry, as in names of images: docker.io, registry.example:5000",
  }),
};

export class RegistryLogin extends WarrenCommand {
  static override summary = "Store the login with which nodes pull images from a registry.";
  static override examples = ["<%= config.bin %> registry login registry.example -u me --password-stdin < password"];
  static override args = registryArg;
  static override flags = {
    username: Flags.string({ char: "u", required: true, description: "User name at the registry", helpValue: "NAME" }),
    "password-stdin": Flags.boolean({ description: "Read the password from stdin" }),
    password: Flags.string({
      char: "p",
      description: "Password; other users of this machine can see it",
      helpValue: "TEXT",
    }),
  };
  static override fieldWords = {
    registry: "REGISTRY",
    "auth.username": "--username",
    "auth.password": "the password",
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(RegistryLogin);
    if (flags["password-stdin"] === (flags.password !== undefined)) {
      throw new UnitError("give the password by --password-stdin or by --password, one of them");
    }
    const password = flags.password ?? readFileSync(0, "utf8").replace(/\r?\n$/, "");
    const client = await this.connect(flags.host);
    await client.registries.login({ registry: args.registry, auth: { username: flags.username, password } });
  }
}

export class RegistryLogout extends WarrenCommand {
  static override summary = "Remove the stored login of a registry.";
  static override args = registryArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(RegistryLogout);
    const client = await this.connect(flags.host);
    await client.registries.logout({ registry: args.registry });
  }
}

export class RegistryList extends WarrenCommand {
  static override summary = "List the registries with a stored login.";
  static override flags = listFlags;

  async run(): Promise<void> {
    const { flags } = await this.parse(RegistryList);
    const client = await this.connect(flags.host);
    const registries = await pages(
      (page) => client.registries.list({ page }),
      (answer) => answer.registries,
    );
    await this.printList(flags, {
      rows: registries,
      columns: registryColumns,
      name: ({ registry }) => registry,
      json: () => toJson(ListRegistriesResponse, { registries, nextPageToken: "" }),
    });
  }
}
