import { jsonPointer, sha256 } from "@prismrec/core/base";
import { documentError } from "@prismrec/core/recommend";
import { z } from "zod";
import { RequestError } from "./problems.js";
import type { Served } from "./served.js";

/** Rounding of shares that are written with a few digits. */
const SHARES_OFF = 1e-6;

/** The document of an experiment: which variants there are, and who gets which. */
export const variantsSchema = z
  .strictObject({
    $schema: z.string().exactOptional(),
    salt: z.string().min(1).max(200).describe("of the experiment: another salt splits users anew"),
    byRequest: z.boolean().default(false).describe("whether a request may name its variant"),
    variants: z
      .array(
        z.strictObject({
          name: z
            .string()
            .regex(/^[\w.-]{1,64}$/, "1 to 64 letters, digits, dots, hyphens or underscores")
            .describe("stands in answers, in the exposure log and in the metrics"),
          share: z.number().min(0).max(1).describe("of the users; all shares sum to 1"),
          run: z.string().min(1).describe("run directory; absent: the one that serve is given").exactOptional(),
          rules: z.string().min(1).describe("file of business rules; absent: none").exactOptional(),
        }),
      )
      .min(1)
      .describe("the first one answers where no user is named"),
  })
  .refine(({ variants }) => Math.abs(variants.reduce((sum, { share }) => sum + share, 0) - 1) <= SHARES_OFF, {
    message: "the shares must sum to 1",
    path: ["variants"],
  })
  .refine(({ variants }) => new Set(variants.map(({ name }) => name)).size === variants.length, {
    message: "each variant needs a name of its own",
    path: ["variants"],
  })
  .describe("variants of a recommender, each for a share of the users");

export type VariantsDocument = z.output<typeof variantsSchema>;

/**
 * @param source what to call the document in errors, such as its path
 * @throws PrismrecError CONFIG_INVALID with a JSON pointer to the part that cannot be
 */
export function parseVariants(raw: unknown, source: string): VariantsDocument {
  const parsed = variantsSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw documentError(parsed.error, raw, source, "docs/reference/variants.md says what stands there.");
}

export interface ServedVariant {
  readonly name: string;
  /** 0..1 of the users. */
  readonly share: number;
  readonly served: Served;
}

/** Several recommenders, each for its share of the users. */
export interface ServedVariants {
  readonly salt: string;
  readonly byRequest: boolean;
  /** The first one answers where no user is named. */
  readonly variants: readonly [ServedVariant, ...ServedVariant[]];
  /** Gives back all that they hold, what several of them share too. */
  close(): Promise<void>;
}

/** Where a user stands in an experiment, 0 to below 1: the same in every process, and for every share. */
export function placeOfUser(salt: string, user: string): number {
  return Number.parseInt(sha256(JSON.stringify([salt, user])).slice(0, 12), 16) / 2 ** 48;
}

/** How a variant came to answer: for its users, because the request named it, or because no user was named. */
export type ChosenBy = "user" | "request" | "default";

export interface Chosen {
  readonly served: Served;
  /** Null where there are no variants. */
  readonly variant: { readonly name: string; readonly by: ChosenBy } | null;
}

/** All that answers at a time: one recommender, or the variants of an experiment. */
export class Lineup {
  /** Names are null where there are no variants. */
  readonly all: readonly { readonly name: string | null; readonly share: number; readonly served: Served }[];

  constructor(private readonly opened: Served | ServedVariants) {
    this.all = "variants" in opened ? opened.variants : [{ name: null, share: 1, served: opened }];
  }

  /** Answers where no user is named. */
  get first(): Served {
    return this.all[0]!.served;
  }

  get byRequest(): boolean {
    return "variants" in this.opened && this.opened.byRequest;
  }

  /** @throws RequestError for a variant that a request cannot name */
  choose({ user, variant }: { readonly user?: string; readonly variant?: string }): Chosen {
    const { opened } = this;
    if (variant !== undefined) return { served: this.#named(variant), variant: { name: variant, by: "request" } };
    if (!("variants" in opened)) return { served: opened, variant: null };
    const [first] = opened.variants;
    if (user === undefined) return { served: first.served, variant: { name: first.name, by: "default" } };
    let below = placeOfUser(opened.salt, user);
    // Shares that sum to a little less than 1 leave the last few users to the last variant that has any.
    let { name, served } = first;
    for (const own of opened.variants) {
      if (own.share === 0) continue;
      ({ name, served } = own);
      below -= own.share;
      if (below < 0) break;
    }
    return { served, variant: { name, by: "user" } };
  }

  #named(variant: string): Served {
    const found = this.byRequest ? this.all.find(({ name }) => name === variant) : undefined;
    if (found !== undefined) return found.served;
    const detail = this.byRequest ? "there is no such variant" : "this service lets no request name its variant";
    throw new RequestError({
      code: "INVALID_ARGUMENT",
      status: 400,
      detail,
      expected: this.byRequest
        ? `one of ${this.all.map(({ name }) => name).join(", ")}`
        : "a request without a variant",
      received: variant,
      hint: this.byRequest ? "GET /v1/variants lists them." : "Allow it with byRequest in the variants' file.",
      errors: [{ pointer: jsonPointer(["variant"]), detail, received: JSON.stringify(variant) }],
    });
  }

  close(): Promise<void> {
    return this.opened.close();
  }
}
