/** The task that a command means: itself, or one of a service's that runs. */
import { ApiError, type Service } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { compareSlotKeys, isMeantToRun, isRunning, slotName } from "@warren/api/model";
import { pages } from "./pages.ts";
import { CommandFailed } from "./warren-command.ts";

export interface TaskTarget {
  /** An id, or what was typed, which the manager looks up. */
  readonly id: string;
  readonly name: string;
}

/** Of a service, which task is taken is said on stderr. @throws CommandFailed where none runs */
export async function taskOf(client: ApiClient, ref: string): Promise<TaskTarget> {
  const itself = { id: ref, name: ref };
  if (ref.includes(".")) return itself;
  let service: Service;
  try {
    service = await client.services.get({ ref });
  } catch (error) {
    // It may be a task's id.
    if (ApiError.is(error, "API_NOT_FOUND")) return itself;
    throw error;
  }
  const tasks = await pages(
    (page) => client.tasks.list({ page, services: [service.meta?.id ?? ""] }),
    (answer) => answer.tasks,
  );
  const [first] = tasks
    .filter((task) => isMeantToRun(task) && isRunning(task))
    .toSorted((a, b) => compareSlotKeys(a.slot, b.slot));
  if (first === undefined) throw new CommandFailed(`no task of ${ref} runs: see 'warren why ${ref}'`);
  process.stderr.write(`in ${slotName(first)}\n`);
  return { id: first.meta?.id ?? "", name: slotName(first) };
}
