/** Commands that look at services. */
import { Flags } from "@oclif/core";
import { ListServicesResponse, ListTasksResponse, ObjectKind, Service } from "@warren/api";
import { toJson } from "../json.ts";
import { compareSlotKeys, compareTasks } from "@warren/api/model";
import { followLogs, logFlags } from "../logs.ts";
import { watchedListFlags } from "../list-output.ts";
import { pages } from "../pages.ts";
import { serviceArg } from "../service-arg.ts";
import { serviceColumns, taskColumns } from "../views.ts";
import { inspectFlag, WarrenCommand } from "../warren-command.ts";
import { hostnames } from "../hostnames.ts";

export class ServiceList extends WarrenCommand {
  static override summary = "List services.";
  static override examples = [
    "<%= config.bin %> service list --watch",
    "<%= config.bin %> service list --columns NAME,STATUS,IMAGE",
  ];
  static override flags = {
    ...watchedListFlags,
    label: Flags.string({
      char: "l",
      multiple: true,
      multipleNonGreedy: true,
      description: "Only services with this label",
      helpValue: "KEY[=VALUE]",
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ServiceList);
    const client = await this.connect(flags.host);
    const labels = Object.fromEntries(
      (flags.label ?? []).map((text) => [text.split("=")[0] ?? "", text.split("=").slice(1).join("=")]),
    );
    await this.showList(client, flags, [ObjectKind.SERVICE, ObjectKind.TASK], async () => {
      const services = await pages(
        (page) => client.services.list({ page, labels }),
        (answer) => answer.services,
      );
      return {
        rows: services,
        columns: serviceColumns(Date.now()),
        name: ({ spec }) => spec?.name ?? "",
        json: () => toJson(ListServicesResponse, { services, nextPageToken: "" }),
      };
    });
  }
}

export class ServiceInspect extends WarrenCommand {
  static override summary = "Show all fields of a service.";
  static override args = serviceArg;
  static override flags = inspectFlag;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceInspect);
    const client = await this.connect(flags.host);
    const service = await client.services.get({ ref: args.service });
    await this.print(flags.output, {
      rows: [service],
      columns: serviceColumns(Date.now()),
      name: ({ spec }) => spec?.name ?? "",
      json: () => toJson(Service, service),
    });
  }
}

export class ServiceTasks extends WarrenCommand {
  static override summary = "List the tasks of a service, and the last ones that ended.";
  static override args = serviceArg;
  static override flags = watchedListFlags;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceTasks);
    const client = await this.connect(flags.host);
    // Named by id, so that a prefix that two services share is refused here and not merged.
    const service = await client.services.get({ ref: args.service });
    await this.showList(client, flags, [ObjectKind.TASK], async () => {
      const tasks = await pages(
        (page) => client.tasks.list({ page, services: [service.meta?.id ?? ""] }),
        (answer) => answer.tasks,
      );
      tasks.sort((a, b) => compareSlotKeys(a.slot, b.slot) || compareTasks(b, a));
      return {
        rows: tasks,
        columns: taskColumns(Date.now(), await hostnames(client)),
        name: ({ meta }) => meta?.id ?? "",
        json: () => toJson(ListTasksResponse, { tasks, nextPageToken: "" }),
      };
    });
  }
}

export class ServiceLogs extends WarrenCommand {
  static override summary = "Print the logs of a service's current tasks, or of one task.";
  static override args = serviceArg;
  static override flags = logFlags;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceLogs);
    await followLogs(await this.connect(flags.host), args.service, flags, this.interrupted);
  }
}
