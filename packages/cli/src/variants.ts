/** What changes in a variant, all else equal. */
export interface Variant {
  readonly description: string;
  /** Who splits histories and synthesized users; the run's own clusterer where absent. */
  readonly clusterer?: "shuffled" | "category" | "random";
  readonly semantic?: false;
  readonly crowd?: false;
  /** Settings over those of `ldmi`. */
  readonly train?: Readonly<Record<string, unknown>>;
}

export const VARIANTS = {
  ldmi: { description: "the whole method" },
  "no-semantic": { description: "without semantic interests of users (the crowd stays)", semantic: false },
  "no-crowd": { description: "without the crowd contrast", crowd: false },
  neither: { description: "without semantic interests and without crowd", semantic: false, crowd: false },
  shuffled: { description: "control: cluster members permuted inside each history", clusterer: "shuffled" },
  category: { description: "control: clusters from the items' categories", clusterer: "category" },
  random: { description: "control: clusters drawn at random", clusterer: "random" },
  gate: { description: "alignment and gate instead of the mixture", train: { network: { fusion: "gate" } } },
  "gate-shuffled": {
    description: "the gate with shuffled clusters",
    clusterer: "shuffled",
    train: { network: { fusion: "gate" } },
  },
} as const satisfies Record<string, Variant>;

export type VariantName = keyof typeof VARIANTS;
export const VARIANT_NAMES = Object.keys(VARIANTS).filter((name): name is VariantName => name in VARIANTS);
export const DEFAULT_VARIANTS: readonly VariantName[] = [
  "ldmi",
  "no-semantic",
  "no-crowd",
  "shuffled",
  "category",
  "random",
];
