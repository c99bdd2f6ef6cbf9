/** What changes in a variant, all else equal. */
export interface Variant {
  readonly description: string;
  /** Who splits histories and synthesized users; the run's own clusterer where absent. */
  readonly clusterer?: "shuffled" | "category" | "random";
  readonly semantic?: false;
  readonly crowd?: false;
  /** Settings over those of the run's own model. */
  readonly train?: Readonly<Record<string, unknown>>;
}

/** The whole method: what every variant is held against. Shown under the model's own name. */
const WHOLE: Variant = { description: "the whole method" };

/** What may be left out or changed; some ask for settings that only some models have. */
const VARIANTS: Readonly<Record<string, Variant>> = {
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
};

/** The variants of a model by name, the whole model first. */
export function variantsOf(model: string): Readonly<Record<string, Variant>> {
  return { [model]: WHOLE, ...VARIANTS };
}

/** Those that are tried where none are named. */
export function defaultVariants(model: string): string[] {
  return [model, "no-semantic", "no-crowd", "shuffled", "category", "random"];
}
