import { Flags } from "@oclif/core";
import { serviceArg } from "../service-arg.ts";
import { serving } from "../service/serving.ts";
import { waitFlags } from "../warren-command.ts";
import { ServiceCommand } from "./service-change.ts";

export class ServiceWait extends ServiceCommand {
  static override summary = "Wait until services are as they were asked for.";
  static override description =
    "Without --healthy the wait is that of 'create' and 'update': it ends with exit code 1 where an update pauses or is rolled back, or tasks fail again and again. With --healthy nothing but the time ends it early.";
  static override usage = "service wait SERVICE… [--healthy] [--timeout DURATION]";
  static override examples = [
    "<%= config.bin %> service update web --image nginx:1.29 --detach && <%= config.bin %> service wait web",
    "<%= config.bin %> service wait db cache --healthy --timeout 2m",
  ];
  static override strict = false;
  static override args = serviceArg;
  static override flags = {
    healthy: Flags.boolean({
      description: "Wait only until as many tasks run and are healthy as the service wants, of whichever version",
    }),
    timeout: waitFlags.timeout,
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(ServiceWait);
    const client = await this.connect(flags.host);
    // All are looked up first, so that a name that is wrong is refused at once.
    const services = await Promise.all((argv as string[]).map((ref) => client.services.get({ ref })));
    const judge = flags.healthy ? { judge: serving } : {};
    const begin = performance.now();
    for (const service of services) {
      // All of them have the time together, not one after the other.
      const spentMs = performance.now() - begin;
      await this.converge(service, { host: flags.host, timeout: flags.timeout, detach: false, spentMs }, judge);
    }
  }
}
