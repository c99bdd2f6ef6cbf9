import { createRandom, type Random } from "@prismrec/core/base";

/**
 * Every random decision of a run is a function of the seed and of where it is made (epoch, step), never of how the run
 * got there: a resumed run needs no generator state beyond these counters.
 */
export class RunSeeds {
  constructor(readonly seed: number) {}

  initial(): Random {
    return createRandom(this.seed, "initial");
  }

  epoch(epoch: number): Random {
    return createRandom(this.seed, `epoch ${epoch}`);
  }

  /** Of the order in which an epoch reads the sequences. */
  order(epoch: number): Random {
    return createRandom(this.seed, `order of epoch ${epoch}`);
  }

  step(step: number): Random {
    return createRandom(this.seed, `step ${step}`);
  }
}

/** Seeds of a step's dropout calls, in the order in which they are asked for. */
export function dropoutSeeds(random: Random): () => number {
  return () => random.integer(0, 2 ** 32);
}
