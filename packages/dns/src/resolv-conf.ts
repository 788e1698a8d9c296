import { watch, type FSWatcher } from "node:fs";
import { readFile, readlink } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { serially, type Logger } from "@warren/std";
import { readEndpoint, type Endpoint } from "./options.ts";

/** The servers of a resolv.conf's `nameserver` lines; other lines, and those without an address, are skipped. */
export function readNameservers(text: string): Endpoint[] {
  return text.split("\n").flatMap((line) => {
    const [word, address = ""] = line.trim().split(/\s+/);
    // A bare address: resolv.conf(5) has no ports.
    const endpoint = word === "nameserver" && !address.startsWith("[") ? readEndpoint(address) : undefined;
    return endpoint === undefined ? [] : [endpoint];
  });
}

/** Symbolic links that are followed from the path to the file, at most. */
const linkLimit = 8;

/** Watches a resolv.conf and every link on the way to it. The last servers stay until the file names others. */
export class WatchedResolvConf {
  readonly #path: string;
  readonly #log: Logger;
  readonly #onServers: (servers: readonly Endpoint[]) => void;
  readonly #one = serially();
  #watchers: FSWatcher[] = [];
  #watched = "";
  #servers = "";
  #closed = false;

  private constructor(path: string, log: Logger, onServers: (servers: readonly Endpoint[]) => void) {
    this.#path = resolve(path);
    this.#log = log;
    this.#onServers = onServers;
  }

  /** Calls `onServers` once before it resolves, if the file names a server. */
  static async open(
    path: string,
    log: Logger,
    onServers: (servers: readonly Endpoint[]) => void,
  ): Promise<WatchedResolvConf> {
    const watched = new WatchedResolvConf(path, log, onServers);
    await watched.#read();
    return watched;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#one(async () => this.#stopWatching());
  }

  #stopWatching(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
    this.#watched = "";
  }

  #read(): Promise<void> {
    return this.#one(async () => {
      if (this.#closed) return;
      // Watched first, then read: no change falls between.
      await this.#follow();
      try {
        const servers = readNameservers(await readFile(this.#path, "utf8"));
        const text = JSON.stringify(servers);
        if (servers.length === 0 || text === this.#servers) return;
        this.#servers = text;
        this.#log.info("upstream name servers", { path: this.#path, servers });
        this.#onServers(servers);
      } catch (error) {
        this.#log.warn("cannot read the list of upstream name servers; the last one stays", {
          path: this.#path,
          error,
        });
      }
    });
  }

  /** Watches the folder of each link on the way, since a link or file is replaced by renaming another over it. */
  async #follow(): Promise<void> {
    const files = [this.#path];
    for (let file = this.#path; files.length <= linkLimit; files.push(file)) {
      try {
        file = resolve(dirname(file), await readlink(file));
      } catch {
        // Not a link, or not there: there is nothing further to watch.
        break;
      }
    }
    const watched = files.join("\n");
    if (watched === this.#watched) return;
    this.#stopWatching();
    this.#watched = watched;
    for (const file of files) {
      try {
        const watcher = watch(dirname(file), { persistent: false }, (_, name) => {
          if (name === null || name === basename(file)) void this.#read();
        });
        watcher.on("error", (error) => this.#log.warn("the watch on a folder ended", { path: dirname(file), error }));
        this.#watchers.push(watcher);
      } catch (error) {
        this.#log.warn("cannot watch for changes", { path: file, error });
      }
    }
  }
}
