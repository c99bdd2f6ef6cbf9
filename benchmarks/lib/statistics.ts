export interface Summary {
  readonly median: number;
  readonly p20: number;
  readonly p80: number;
}

/** The value below which a share of the samples lies, linear between neighbours. */
export function quantile(samples: readonly number[], share: number): number {
  if (samples.length === 0) throw new RangeError("no samples");
  const sorted = [...samples].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = Math.floor(place);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (place - below);
}

export function summarize(samples: readonly number[]): Summary {
  return { median: quantile(samples, 0.5), p20: quantile(samples, 0.2), p80: quantile(samples, 0.8) };
}

/** Some seconds of one contestant, and how many processors others kept busy meanwhile. */
export interface Block {
  readonly seconds: readonly number[];
  readonly foreignCores: number;
}

/** A block is clean where others used less than this many processors. */
const CLEAN_CORES = 0.25;
const ENOUGH_CLEAN = 3;

export function isClean({ foreignCores }: Block): boolean {
  return foreignCores < CLEAN_CORES;
}

/** The blocks to count: the clean ones where there are enough of them, else all. */
export function countedBlocks(blocks: readonly Block[]): readonly Block[] {
  const clean = blocks.filter(isClean);
  return clean.length >= Math.min(ENOUGH_CLEAN, blocks.length) ? clean : blocks;
}
