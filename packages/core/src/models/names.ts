// Written by tools/generate-model-names.mjs from the registry: names without the weight of models.

/** What can be said of a model without loading it. */
export interface ModelSummary {
  readonly name: string;
  readonly kind: "network" | "scorer";
  /** What it learns from beside the events. */
  readonly reads: readonly ("clusters" | "crowd")[];
  /** Whether runs are held against it where they name no others. */
  readonly baseline: boolean;
  /** Whether validation may add it to a network where the settings leave the prior to it. */
  readonly prior: boolean;
}

/** Every model of the registry, in its order. */
export const MODEL_LIST: readonly ModelSummary[] = [
  { name: "ldmi", kind: "network", reads: ["clusters", "crowd"], baseline: false, prior: false },
  { name: "comirec-sa", kind: "network", reads: [], baseline: false, prior: false },
  { name: "comirec-dr", kind: "network", reads: [], baseline: false, prior: false },
  { name: "sasrec", kind: "network", reads: [], baseline: false, prior: false },
  { name: "esasrec", kind: "network", reads: [], baseline: false, prior: false },
  { name: "remi", kind: "network", reads: [], baseline: false, prior: false },
  { name: "gru4rec", kind: "network", reads: [], baseline: false, prior: false },
  { name: "mind", kind: "network", reads: [], baseline: false, prior: false },
  { name: "sine", kind: "network", reads: [], baseline: false, prior: false },
  { name: "most-popular", kind: "scorer", reads: [], baseline: true, prior: false },
  { name: "recent-popular", kind: "scorer", reads: [], baseline: false, prior: false },
  { name: "item-knn", kind: "scorer", reads: [], baseline: true, prior: true },
  { name: "ease", kind: "scorer", reads: [], baseline: true, prior: true },
  { name: "ials", kind: "scorer", reads: [], baseline: false, prior: false },
  { name: "l3ae", kind: "scorer", reads: [], baseline: false, prior: true },
  { name: "gf-cf", kind: "scorer", reads: [], baseline: false, prior: false },
  { name: "slim", kind: "scorer", reads: [], baseline: false, prior: false },
  { name: "blend", kind: "scorer", reads: [], baseline: false, prior: false },
];

/** The model that a run is about unless it says otherwise. */
export const DEFAULT_MODEL_NAME = "ldmi";
