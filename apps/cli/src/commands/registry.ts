import { readFileSync } from "node:fs";
import { Args, Flags } from "@oclif/core";
import { ListRegistriesResponse, type RegistryAuth } from "@warren/api";
import { authOf, readDockerLogins } from "../docker-logins.ts";
import { toJson } from "../json.ts";
import { listFlags } from "../list-output.ts";
import { pages } from "../pages.ts";
import { ask, askSecretly } from "../prompt.ts";
import { UnitError } from "../units.ts";
import { registryColumns } from "../views.ts";
import { CommandFailed, WarrenCommand } from "../warren-command.ts";

const registryArg = {
  registry: Args.string({
    required: true,
    description: "Registry, as in names of images: docker.io, registry.example:5000",
  }),
};

export class RegistryLogin extends WarrenCommand {
  static override summary = "Check a login at a registry, and store it for all nodes.";
  static override description =
    "A node asks the registry at once; a login that it refuses is not stored. Tasks that wait for the login are tried again.";
  static override usage = "registry login REGISTRY [-u NAME] [--password-stdin] | --from-docker [REGISTRY]";
  static override examples = [
    "<%= config.bin %> registry login registry.example",
    "<%= config.bin %> registry login registry.example -u me --password-stdin < password",
    "<%= config.bin %> registry login --from-docker",
  ];
  static override args = { registry: Args.string({ description: registryArg.registry.description ?? "" }) };
  static override flags = {
    username: Flags.string({
      char: "u",
      description: "User name at the registry; on a terminal it is asked for",
      helpValue: "NAME",
    }),
    "password-stdin": Flags.boolean({ description: "Read the password from stdin" }),
    password: Flags.string({
      char: "p",
      description: "Password; other users of this machine can see it",
      helpValue: "TEXT",
    }),
    "from-docker": Flags.boolean({
      description: "Take over the logins that Docker has on this machine",
      exclusive: ["username", "password", "password-stdin"],
    }),
  };
  static override fieldWords = {
    registry: "REGISTRY",
    "auth.username": "--username",
    "auth.password": "the password",
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(RegistryLogin);
    if (flags["from-docker"]) return this.#fromDocker(flags.host, args.registry);
    if (args.registry === undefined) throw new UnitError("REGISTRY is required, such as docker.io");
    if (flags["password-stdin"] && flags.password !== undefined)
      throw new UnitError("--password-stdin and --password contradict each other: give one of them");
    const isTerminal = process.stdin.isTTY;
    if (flags.username === undefined && !isTerminal) throw new UnitError("--username is required, as -u NAME");
    if (flags.password === undefined && !flags["password-stdin"] && !isTerminal)
      throw new UnitError("the password is required: --password-stdin reads it from stdin");
    const username = flags.username ?? (await ask(`User name at ${args.registry}: `));
    const password =
      flags.password ??
      (flags["password-stdin"]
        ? readFileSync(0, "utf8").replace(/\r?\n$/, "")
        : await askSecretly(`Password of ${username} at ${args.registry}: `));
    if (password === "") throw new UnitError("the password is empty: nothing was stored");
    await this.#store(flags.host, args.registry, { username, password });
  }

  async #store(host: string, registry: string, auth: RegistryAuth): Promise<void> {
    const client = await this.connect(host);
    const { check } = await client.registries.login({ registry, auth });
    if (check?.accepted === true) process.stdout.write(`${check.text}; it is stored for every node\n`);
    else process.stderr.write(`warning: stored, but ${check?.text ?? "it was not checked"}\n`);
  }

  async #fromDocker(host: string, only: string | undefined): Promise<void> {
    const { path, logins } = await readDockerLogins();
    const chosen = logins.filter(({ registry }) => only === undefined || registry === only);
    if (chosen.length === 0) throw new CommandFailed(`${path} has no login${only === undefined ? "" : ` at ${only}`}`);
    const failed = await this.each(
      chosen,
      ({ registry }) => registry,
      async (login) => {
        await this.#store(host, login.registry, await authOf(login));
      },
    );
    if (failed > 0) throw new CommandFailed(`${failed} of ${chosen.length} logins were not taken over`);
  }
}

export class RegistryLogout extends WarrenCommand {
  static override summary = "Remove the stored login of a registry.";
  static override args = registryArg;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(RegistryLogout);
    const client = await this.connect(flags.host);
    await client.registries.logout({ registry: args.registry });
    process.stderr.write(`${args.registry}: the login is removed; images that are on nodes stay there\n`);
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
