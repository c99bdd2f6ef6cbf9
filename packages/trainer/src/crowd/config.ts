import { z } from "zod";

/** Crowd settings; every default is the one of docs/concepts/method.md. */
export const crowdConfigSchema = z.strictObject({
  /** Users alike: IDF-weighted cosine or Jaccard over the items of two training users. */
  similarity: z.enum(["cosine", "jaccard"]).default("cosine"),
  /** Nearest neighbours looked at per user; an edge needs both ends to name each other. */
  neighbours: z.int().min(1).max(1024).default(32),
  /** The weakest mutual edges go until a user has this many on average. */
  edgesPerUser: z.number().positive().default(8),
  /** No edge below this similarity, however few there are. */
  minSimilarity: z.number().min(0).max(1).default(0.02),
  /**
   * Bounds the search for neighbours: pairs of users are met through the items they share, rare items first, until there
   * have been this many meetings. The commonest items then propose nobody; they still count in the similarity.
   */
  maxMeetings: z.int().min(1).default(200_000_000),
  /** Most members of a clique. */
  cliqueSize: z.int().min(2).max(64).default(8),
  /** A growing clique is also a candidate at these sizes. */
  prefixes: z.array(z.int().min(2)).default([2, 4, 8]),
  /** `random` is the control: cliques of the same sizes with members drawn at random. */
  cliques: z.enum(["similar", "random"]).default("similar"),
  /** L: most items of a synthesized user. */
  maxItems: z.int().min(2).default(64),
  /** What the selected synthesized users are to cover. */
  universe: z.enum(["items", "pairs", "users"]).default("items"),
  /** r: how often an element counts. */
  repeats: z.int().min(1).max(65535).default(2),
  /** Q = min(share of the training users, maxUsers). */
  share: z.number().positive().max(1).default(0.05),
  maxUsers: z.int().min(1).default(5000),
  /** Most tokens all synthesized users may have together, when a language model is to read them (estimated). */
  maxTokens: z.int().min(1).optional(),
  /** A synthesized user that adds less coverage weight than this is not taken. */
  minGain: z.number().min(0).default(0),
  solver: z.enum(["exact", "lazy", "stochastic"]).default("exact"),
  /** `random` is the control: as many synthesized users drawn at random from the candidates. */
  cover: z.enum(["greedy", "random"]).default("greedy"),
  seed: z.int().min(0).max(0xffffffff).default(1),
});

/** What a caller may give; anything absent takes its default. */
export type CrowdConfigInput = z.input<typeof crowdConfigSchema>;
export type CrowdConfig = z.output<typeof crowdConfigSchema>;
