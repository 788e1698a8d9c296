import type { LogLine } from "@warren/api";

/** What has been told of one log, so that it is taken up again without a line twice or left out. */
export class LogPosition {
  #at: Date | undefined;
  /** Lines of that very time that were told. */
  #count = 0;

  /** The newest time that was told; a log is asked from here on, this included. */
  get at(): Date | undefined {
    return this.#at;
  }

  told({ at }: LogLine): void {
    if (at === undefined) return;
    if (this.#at !== undefined && at.getTime() === this.#at.getTime()) this.#count += 1;
    else if (this.#at === undefined || at > this.#at) {
      this.#at = at;
      this.#count = 1;
    }
  }

  /**
   * Whether a line of the log, which is asked anew from `at` or earlier, was told before. From the first that was not,
   * none was, whatever the node's clock does.
   */
  resume(): (line: LogLine) => boolean {
    const since = this.#at?.getTime();
    let skip = this.#count;
    let caughtUp = since === undefined;
    return ({ at }) => {
      if (caughtUp || since === undefined || at === undefined) return false;
      if (at.getTime() < since) return true;
      if (at.getTime() === since && skip > 0) {
        skip -= 1;
        return true;
      }
      caughtUp = true;
      return false;
    };
  }
}
