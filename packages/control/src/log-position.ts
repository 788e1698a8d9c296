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

  /** Drops those of a log asked from `at` on that were told before it was asked. */
  resume(): (lines: readonly LogLine[]) => LogLine[] {
    const since = this.#at?.getTime();
    let skip = this.#count;
    return (lines) =>
      lines.filter(({ at }) => {
        const again = skip > 0 && since !== undefined && at?.getTime() === since;
        if (again) skip -= 1;
        return !again;
      });
  }
}
