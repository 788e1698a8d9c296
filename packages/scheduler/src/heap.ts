/** A binary heap: `pop` returns the first by `compare`. Keys of items must not change while they are inside. */
export class Heap<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #items: T[];

  constructor(items: T[], compare: (a: T, b: T) => number) {
    this.#items = items;
    this.#compare = compare;
    for (let at = (items.length >>> 1) - 1; at >= 0; at -= 1) this.#sink(at);
  }

  push(item: T): void {
    let at = this.#items.push(item) - 1;
    while (at > 0 && this.#before(at, (at - 1) >>> 1)) {
      this.#swap(at, (at - 1) >>> 1);
      at = (at - 1) >>> 1;
    }
  }

  pop(): T | undefined {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (this.#items.length > 0) {
      this.#items[0] = last as T;
      this.#sink(0);
    }
    return first;
  }

  #sink(start: number): void {
    for (let at = start; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#items.length && this.#before(child, least)) least = child;
      }
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #before(a: number, b: number): boolean {
    return this.#compare(this.#items[a] as T, this.#items[b] as T) < 0;
  }

  #swap(a: number, b: number): void {
    [this.#items[a], this.#items[b]] = [this.#items[b] as T, this.#items[a] as T];
  }
}
