/** One MsgApp on its way: the last index in it and the payload bytes it carries. A ring that grows as needed. */
export class Inflights {
  private readonly size: number;
  private readonly maxBytes: number;
  private indexes: number[] = [];
  private sizes: number[] = [];
  private start = 0;
  private used = 0;
  private bytes = 0;

  /** Full at `size` messages, or once `maxBytes` or more are in flight. */
  constructor(size: number, maxBytes: number) {
    this.size = size;
    this.maxBytes = maxBytes;
  }

  get count(): number {
    return this.used;
  }

  full(): boolean {
    return this.used === this.size || this.bytes >= this.maxBytes;
  }

  /** Records a message whose last entry is `index`. Indexes never decrease. @throws Error if full */
  add(index: number, bytes: number): void {
    if (this.full()) throw new Error("cannot add into a full inflights window");
    if (this.used === this.indexes.length) this.grow();
    const at = (this.start + this.used) % this.indexes.length;
    this.indexes[at] = index;
    this.sizes[at] = bytes;
    this.used++;
    this.bytes += bytes;
  }

  /** Forgets every message whose last entry is at or below `index`. */
  freeUpTo(index: number): void {
    while (this.used > 0 && (this.indexes[this.start] as number) <= index) {
      this.bytes -= this.sizes[this.start] as number;
      this.start = (this.start + 1) % this.indexes.length;
      this.used--;
    }
    if (this.used === 0) this.start = 0;
  }

  reset(): void {
    this.start = 0;
    this.used = 0;
    this.bytes = 0;
  }

  clone(): Inflights {
    const copy = new Inflights(this.size, this.maxBytes);
    copy.indexes = [...this.indexes];
    copy.sizes = [...this.sizes];
    copy.start = this.start;
    copy.used = this.used;
    copy.bytes = this.bytes;
    return copy;
  }

  private grow(): void {
    const capacity = Math.min(Math.max(1, this.indexes.length * 2), this.size);
    const indexes = Array.from({ length: capacity }, () => 0);
    const sizes = Array.from({ length: capacity }, () => 0);
    for (let i = 0; i < this.used; i++) {
      const from = (this.start + i) % this.indexes.length;
      indexes[i] = this.indexes[from] as number;
      sizes[i] = this.sizes[from] as number;
    }
    this.indexes = indexes;
    this.sizes = sizes;
    this.start = 0;
  }
}
