import {
  AssignmentsMessage_Type,
  type AssignedTask,
  type AssignmentsMessage,
  type Endpoint,
  type RegistryLogin,
} from "@warren/api";

/** What a message changed. */
export interface AssignmentDelta {
  readonly tasks: readonly AssignedTask[];
  readonly removedTasks: readonly string[];
  readonly endpoints: readonly Endpoint[];
  readonly removedEndpoints: readonly string[];
  readonly registries: readonly RegistryLogin[];
  readonly removedRegistries: readonly string[];
}

/** Which tasks, endpoints and registries are assigned, by name alone. */
export interface AssignedNames {
  readonly tasks: Iterable<string>;
  readonly endpoints: Iterable<string>;
  readonly registries: Iterable<string>;
}

/** Follows the chain of one stream of assignments. Pure. */
export class AssignmentChain {
  #position: string | undefined;

  /**
   * What `message` changes of what is `assigned` so far; of a COMPLETE one, that includes the end of all it does not
   * name. Undefined if it does not follow on the one before: the stream is to be opened again.
   */
  follow(message: AssignmentsMessage, assigned: AssignedNames): AssignmentDelta | undefined {
    const complete = message.type === AssignmentsMessage_Type.COMPLETE;
    if (!complete && (this.#position === undefined || message.appliesTo !== this.#position)) return undefined;
    this.#position = message.resultsIn;
    const tasks = new Map<string, AssignedTask | undefined>();
    const endpoints = new Map<string, Endpoint | undefined>();
    const registries = new Map<string, RegistryLogin | undefined>();
    if (complete) {
      for (const id of assigned.tasks) tasks.set(id, undefined);
      for (const id of assigned.endpoints) endpoints.set(id, undefined);
      for (const name of assigned.registries) registries.set(name, undefined);
    }
    for (const { assignment } of message.changes) {
      switch (assignment?.$case) {
        case "task":
          tasks.set(assignment.value.id, assignment.value);
          break;
        case "removedTask":
          tasks.set(assignment.value, undefined);
          break;
        case "endpoint":
          endpoints.set(assignment.value.serviceId, assignment.value);
          break;
        case "removedEndpoint":
          endpoints.set(assignment.value, undefined);
          break;
        case "registry":
          registries.set(assignment.value.registry, assignment.value);
          break;
        case "removedRegistry":
          registries.set(assignment.value, undefined);
          break;
        case undefined:
          // A later manager may assign what this worker does not know.
          break;
        default:
          assignment satisfies never;
      }
    }
    return {
      tasks: present(tasks),
      removedTasks: absent(tasks),
      endpoints: present(endpoints),
      removedEndpoints: absent(endpoints),
      registries: present(registries),
      removedRegistries: absent(registries),
    };
  }
}

function present<T>(map: ReadonlyMap<string, T | undefined>): T[] {
  return [...map.values()].filter((value) => value !== undefined);
}

function absent(map: ReadonlyMap<string, unknown>): string[] {
  return [...map].filter(([, value]) => value === undefined).map(([key]) => key);
}
