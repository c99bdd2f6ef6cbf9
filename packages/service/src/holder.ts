import { isPrismrecError } from "@prismrec/core/errors";
import { RequestError } from "./problems.js";
import type { OpenServed, Served } from "./served.js";
import { Lineup } from "./variants.js";

interface Lease {
  readonly lineup: Lineup;
  users: number;
  retired: boolean;
  /** Resolves when it has been given back. */
  closed?: Promise<void>;
}

/**
 * What answers now. A reload opens and warms another lineup, puts it in the place of the first, and gives that
 * one back when the last request that began with it has ended.
 */
export class Holder {
  #current: Lease | undefined;
  #loading: Promise<void> = Promise.resolve();
  readonly #retired = new Set<Lease>();

  constructor(private readonly open: OpenServed) {}

  /** Undefined before the first has been opened. */
  get lineup(): Lineup | undefined {
    return this.#current?.lineup;
  }

  /** @throws RequestError NOT_READY */
  async use<Result>(work: (lineup: Lineup) => Promise<Result>): Promise<Result> {
    const lease = this.#current;
    if (lease === undefined) {
      throw new RequestError({
        code: "NOT_READY",
        status: 503,
        detail: "the model is being opened",
        hint: "GET /health/ready says when it answers.",
      });
    }
    lease.users++;
    try {
      return await work(lease.lineup);
    } finally {
      lease.users--;
      if (lease.retired && lease.users === 0) this.#giveBack(lease);
    }
  }

  /** One load after the other; where it fails, what was there goes on answering. */
  load(signal: AbortSignal): Promise<void> {
    const loading = this.#loading.then(async () => {
      signal.throwIfAborted();
      const lineup = new Lineup(await this.open(signal));
      try {
        for (const { served } of lineup.all) await warmUp(served, signal);
        signal.throwIfAborted();
      } catch (error) {
        await lineup.close();
        throw error;
      }
      this.#retire();
      this.#current = { lineup, users: 0, retired: false };
    });
    this.#loading = loading.catch(() => undefined);
    return loading;
  }

  /** Gives everything back, once nothing uses it. */
  async close(): Promise<void> {
    await this.#loading;
    this.#retire();
    await Promise.all([...this.#retired].map(({ closed }) => closed));
  }

  #retire(): void {
    const lease = this.#current;
    this.#current = undefined;
    if (lease === undefined) return;
    lease.retired = true;
    this.#retired.add(lease);
    if (lease.users === 0) this.#giveBack(lease);
  }

  #giveBack(lease: Lease): void {
    lease.closed = lease.lineup.close().finally(() => this.#retired.delete(lease));
    // Whoever closes the holder hears of it; until then the requests it served have had their answers.
    lease.closed.catch(() => undefined);
  }
}

/** One answer of each kind: what is made at the first request is made before there is one. */
async function warmUp(served: Served, signal: AbortSignal): Promise<void> {
  const [popular] = served.popularItems({ k: 1 }).items;
  if (popular === undefined) return;
  await served.recommend({ history: [popular.id] }, { k: 1, signal });
  try {
    await served.similarItems(popular.id, { k: 1, signal });
  } catch (error) {
    if (!isPrismrecError(error, "MODEL_UNSUPPORTED")) throw error;
  }
}
