import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import type { Dataset } from "../data/types.js";
import type { Ranking } from "../metrics/ranking.js";
import type { StoredTensor } from "../nn/checkpoint/safetensors.js";
import { isScoring, type Model, type RankOptions, type ScoringModel } from "./model.js";
import { rankScores } from "./rank-scores.js";
import { spreadOf } from "./score-spread.js";
import type { ScorerDefinition, SettingsRecord } from "./scorer-definition.js";
import { storedArray } from "./stored-array.js";

export interface BlendMember {
  readonly model: ScoringModel;
  /** Above 0. */
  readonly weight: number;
}

/**
 * The sum of several models' scores, each over its standard deviation for the user and times its weight: what different
 * models know, as one model.
 */
export class Blend implements ScoringModel, Disposable {
  readonly name = "blend";
  readonly itemCount: number;
  readonly #scores: Float64Array;

  /** @param members at least one, all fitted on one catalog; owned by the blend */
  constructor(readonly members: readonly BlendMember[]) {
    this.itemCount = members[0]!.model.itemCount;
    this.#scores = new Float64Array(this.itemCount);
  }

  score(history: Pick<History, "items">, scores: Float64Array): boolean {
    for (const { model, weight } of this.members) {
      const own = this.#scores.fill(0);
      if (!model.score(history, own)) return false;
      const { deviation } = spreadOf(own);
      if (deviation === 0) continue;
      const factor = weight / deviation;
      for (let i = 0; i < own.length; i++) scores[i]! += factor * own[i]!;
    }
    return true;
  }

  rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    return rankScores(this, histories, options);
  }

  [Symbol.dispose](): void {
    for (const { model } of this.members) if (Symbol.dispose in model) (model as Model & Disposable)[Symbol.dispose]();
  }
}

const member = z.strictObject({
  model: z.string().describe("a model that is fitted at once"),
  settings: z.record(z.string(), z.unknown()).default({}).describe("its own settings"),
  weight: z.number().min(0).optional().describe("absent: chosen by validation; that of the first is 1"),
});

const settingsWith = (usual: readonly string[]) =>
  z.strictObject({
    members: z
      .array(member)
      .min(1)
      .default(usual.map((model) => ({ model, settings: {} })))
      .describe("what is added up, each model once, the strongest first"),
    weights: z
      .array(z.number().min(0))
      .min(1)
      .default([0.5, 0, 0.1, 0.25, 1, 2])
      .describe("tried for each member after the first that has none, one member after the other"),
  });

export type BlendSettings = z.infer<ReturnType<typeof settingsWith>>;

/**
 * @param scorerNamed the registry's scorers; throws CONFIG_INVALID for a name that none has
 * @param usual names of the members where the settings name none
 */
export function blendOf(
  scorerNamed: (name: string) => ScorerDefinition,
  usual: readonly string[],
): ScorerDefinition<BlendSettings, Blend> {
  const blendSettings = settingsWith(usual);
  const definitionOf = (name: string): ScorerDefinition => {
    if (name !== "blend") return scorerNamed(name);
    throw new PrismrecError("CONFIG_INVALID", "a blend cannot be a member of a blend");
  };
  return {
    kind: "scorer",
    name: "blend",
    paper: "a weighted sum of standardised scores; weights by validation",
    about: "several scorers as one model: the sum of their scores, each over its spread",
    settings: blendSettings,
    chooses: true,
    async fit(dataset, settings, run = {}, choose) {
      const names = settings.members.map(({ model }) => model);
      if (new Set(names).size < names.length) {
        throw new PrismrecError("CONFIG_INVALID", "a blend has each model once", { received: names.join(", ") });
      }
      const members: BlendMember[] = [];
      const chosen: z.infer<typeof member>[] = [];
      const validation: Record<string, number> = {};
      for (const { model: name, settings: own, weight } of settings.members) {
        const definition = definitionOf(name);
        const fitted = await fitMember(definition, dataset, own, run, choose);
        const weights = weight !== undefined ? [weight] : members.length === 0 ? [1] : settings.weights;
        let best: { readonly weight: number; readonly value: number } | undefined;
        for (const tried of choose === undefined ? weights.slice(0, 1) : weights) {
          const all = tried === 0 ? members : [...members, { model: fitted.model, weight: tried }];
          const value = choose === undefined || all.length === 0 ? 0 : await choose(new Blend(all));
          if (choose !== undefined) validation[`${name} ${tried}`] = value;
          if (best === undefined || value > best.value) best = { weight: tried, value };
        }
        const found = best!.weight;
        chosen.push({ model: name, settings: definition.chosen?.(fitted.facts) ?? own, weight: found });
        if (found > 0) members.push({ model: fitted.model, weight: found });
      }
      if (members.length === 0) {
        throw new PrismrecError("CONFIG_INVALID", "a blend needs a member with a weight above 0");
      }
      const facts = { members: chosen, ...(choose === undefined ? {} : { validation }) };
      return { model: new Blend(members), facts };
    },
    chosen: ({ members }) => blendSettings.parse({ members }),
    tensors({ members }) {
      const tensors = new Map<string, StoredTensor>();
      for (const { model, weight } of members) {
        tensors.set(`weight/${model.name}`, { shape: [1], data: Float64Array.of(weight) });
        for (const [name, tensor] of scorerNamed(model.name).tensors(model))
          tensors.set(`${model.name}/${name}`, tensor);
      }
      return tensors;
    },
    open(dataset, tensors) {
      const names = [...tensors.keys()].flatMap((name) => (name.startsWith("weight/") ? [name.slice(7)] : []));
      if (names.length === 0) {
        throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", "the stored blend has no members");
      }
      return new Blend(
        names.map((name) => {
          const own = [...tensors].filter(([key]) => key.startsWith(`${name}/`));
          const model = scorerNamed(name).open(
            dataset,
            new Map(own.map(([key, tensor]) => [key.slice(name.length + 1), tensor])),
          );
          return { model: scoring(model), weight: storedArray(tensors, `weight/${name}`, Float64Array, 1)[0]! };
        }),
      );
    },
  };
}

async function fitMember(
  { name, settings: schema, maxItems, fit }: ScorerDefinition,
  dataset: Dataset,
  own: SettingsRecord,
  run: RunOptions,
  choose: ((model: Blend) => Promise<number>) | undefined,
): Promise<{ readonly model: ScoringModel; readonly facts: SettingsRecord }> {
  const settings = schema.safeParse(own);
  if (!settings.success) {
    throw new PrismrecError("CONFIG_INVALID", `the settings of the blend's ${name} are not valid`, {
      received: z.prettifyError(settings.error),
    });
  }
  if (maxItems !== undefined && dataset.catalog.size > maxItems) {
    throw new PrismrecError("CONFIG_INVALID", `${name} cannot be a member of this blend`, {
      expected: `a catalog of at most ${maxItems} items`,
      received: `${dataset.catalog.size} items`,
      hint: "Leave it out of the members.",
    });
  }
  const judge = choose && ((model: Model) => choose(new Blend([{ model: scoring(model), weight: 1 }])));
  const { model, facts } = await fit(dataset, settings.data, run, judge);
  return { model: scoring(model), facts };
}

/** @throws PrismrecError CONFIG_INVALID */
function scoring(model: Model): ScoringModel {
  if (isScoring(model)) return model;
  throw new PrismrecError("CONFIG_INVALID", `${model.name} cannot be a member of a blend`, {
    expected: "a model that tells the score of every item",
    received: model.name,
  });
}
