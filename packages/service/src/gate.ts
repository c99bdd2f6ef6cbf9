import { busy, RequestError } from "./problems.js";

/** Lets so many requests be worked on at once, and so many wait in the order they came. */
export class Gate {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(
    concurrency: number,
    readonly queueMax: number,
  ) {
    this.#free = concurrency;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** @throws RequestError BUSY where too many wait already; an aborted signal rejects with its reason */
  async pass<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#free++;
      else {
        this.#waiting.delete(next);
        next();
      }
    }
  }

  #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.queueMax) throw new RequestError(busy("too many requests wait already"));
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(enter);
        reject(signal.reason);
      };
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      this.#waiting.add(enter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}
