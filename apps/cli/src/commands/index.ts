/** Every command by its words. */
import type { Command } from "@oclif/core";
import { ClusterInfoCommand, ClusterInit, ClusterLeave } from "./cluster.ts";
import { Complete, Completion } from "./completion.ts";
import { ManagerCommand, WorkerCommand } from "./daemon.ts";
import { Events } from "./events.ts";
import { NetworkCreate, NetworkDelete, NetworkInspect, NetworkList } from "./network.ts";
import { NodeActivate, NodeDrain, NodeInspect, NodeList, NodePause, NodeRemove, NodeUpdate } from "./node.ts";
import { RegistryList, RegistryLogin, RegistryLogout } from "./registry.ts";
import {
  ServiceCreate,
  ServiceDelete,
  ServiceInspect,
  ServiceList,
  ServiceLogs,
  ServiceRollback,
  ServiceScale,
  ServiceTasks,
  ServiceUpdate,
} from "./service.ts";
import { TaskExec, TaskInspect, TaskList, TaskLogs } from "./task.ts";
import { Top } from "./top.ts";
import { Why } from "./why.ts";

export const commands: Readonly<Record<string, Command.Class>> = {
  "cluster:info": ClusterInfoCommand,
  "cluster:init": ClusterInit,
  "cluster:leave": ClusterLeave,
  complete: Complete,
  completion: Completion,
  events: Events,
  manager: ManagerCommand,
  "network:create": NetworkCreate,
  "network:delete": NetworkDelete,
  "network:inspect": NetworkInspect,
  "network:list": NetworkList,
  "node:activate": NodeActivate,
  "node:drain": NodeDrain,
  "node:inspect": NodeInspect,
  "node:list": NodeList,
  "node:pause": NodePause,
  "node:remove": NodeRemove,
  "node:update": NodeUpdate,
  "registry:list": RegistryList,
  "registry:login": RegistryLogin,
  "registry:logout": RegistryLogout,
  "service:create": ServiceCreate,
  "service:delete": ServiceDelete,
  "service:inspect": ServiceInspect,
  "service:list": ServiceList,
  "service:logs": ServiceLogs,
  "service:rollback": ServiceRollback,
  "service:scale": ServiceScale,
  "service:tasks": ServiceTasks,
  "service:update": ServiceUpdate,
  "task:exec": TaskExec,
  "task:inspect": TaskInspect,
  "task:list": TaskList,
  "task:logs": TaskLogs,
  top: Top,
  why: Why,
  worker: WorkerCommand,
};
