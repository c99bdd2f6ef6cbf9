import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "@prismrec/core/base";
import { type InterestModel, PriorModel, scorerNamed } from "@prismrec/core/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseTrainConfig } from "../config.js";
import { TINY_CONFIGS, tinyInput } from "../testing/tiny-input.js";
import { train } from "../training/train.js";
import { asPrior, chooseAmong, PriorChoice, PriorJudge, type PriorPart, type Tried } from "./choose-prior.js";
import { evaluate } from "./evaluate.js";
import { holdOut } from "./folds.js";

const { dataset } = await tinyInput();
const { learn, judge } = holdOut({ dataset }, 0);
const METRICS = ["recall@20", "ndcg@20"];
const WEIGHTS = [0.5, 4];
const EASE = scorerNamed("ease");
let folder = "";
let [own, other]: InterestModel[] = [];
let [served, fold]: PriorPart[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-choose-prior-"));
  const config = parseTrainConfig({ ...TINY_CONFIGS.mixture, crowd: undefined });
  own = (await train({ dataset }, config, { dir: join(folder, "own") })).model;
  other = (await train(learn, config, { dir: join(folder, "fold") })).model;
  const options = { cutoffs: [20], weights: WEIGHTS };
  served = { learn: dataset, judge: await PriorJudge.open(own, dataset, options) };
  fold = { learn: learn.dataset, judge: await PriorJudge.open(other, judge.dataset, options) };
});
afterAll(() => rm(folder, { recursive: true }));

/** recall + ndcg of every validation user, by `evaluate`. */
async function valuesOf(model: InterestModel | PriorModel, of = dataset): Promise<number[]> {
  const { perUser } = await evaluate(model, of, { part: "valid", metrics: METRICS, diagnostics: false });
  return Array.from(perUser[METRICS[0]!]!, (value, u) => value + perUser[METRICS[1]!]![u]!);
}
const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("the choice among what was tried", () => {
  const random = createRandom(3);
  const users = Array.from({ length: 200 }, () => random.uniform());
  /** Values above everybody's by `gain` on average. */
  const tried = (prior: string | null, weight: number, gain: number, noise = 0.2): Tried => ({
    chosen: prior === null ? null : { prior, weight },
    usual: prior === "ease",
    values: Float64Array.from(users, (value) => value + gain + noise * (random.uniform() - 0.5)),
  });
  const USUAL = { prior: "ease", weight: 0.5 };

  it("is the usual where users cannot tell it from the best", () => {
    const all = [tried(null, 0, 0), tried("item-knn", 4, 0.001), tried("ease", 0.5, 0), tried("l3ae", 0.5, 0.002)];
    expect(chooseAmong(all)).toEqual(USUAL);
  });

  it("is what is better by more than a standard error, however far away", () => {
    expect(chooseAmong([tried(null, 0, 0), tried("ease", 0.5, 0), tried("item-knn", 8, 0.1)])).toEqual({
      prior: "item-knn",
      weight: 8,
    });
    expect(chooseAmong([tried(null, 0, 0.1), tried("ease", 0.5, 0), tried("ease", 0.1, 0)])).toBeNull();
    expect(chooseAmong([tried(null, 0, 0)])).toBeNull();
  });

  it("is drawn to the nearest of those that are as good as the best", () => {
    const far = tried("ease", 8, 0.1);
    const near: Tried = {
      chosen: { prior: "ease", weight: 2 },
      values: far.values.map((value, u) => value - 0.001 + (u % 2 === 0 ? 0.05 : -0.05)),
    };
    expect(chooseAmong([tried(null, 0, 0), tried("ease", 0.5, 0), far, near])).toEqual(near.chosen);
  });

  it("goes by the value alone where a single user is asked", () => {
    const of = (weight: number, value: number): Tried => ({
      chosen: { prior: "ease", weight },
      values: Float64Array.of(value),
    });
    expect(chooseAmong([of(0.5, 0.1), of(4, 0.2)])).toEqual({ prior: "ease", weight: 4 });
  });
});

describe("the choice of a prior", () => {
  it("asks users of folds, of a network and a prior that do not know them, and fits the whole as they say", async () => {
    const choice = new PriorChoice(served!, [fold!]);
    const lambdas = [5, 50];
    const { facts } = await choice.try(EASE, { lambdas });
    const valuesUnder = async (lambda: number): Promise<number[]> => {
      const prior = asPrior((await EASE.fit(learn.dataset, { lambdas: [lambda] })).model);
      const values: number[] = [];
      for (const weight of WEIGHTS) {
        using held = new PriorModel(other!, prior, weight);
        values.push(meanOf(await valuesOf(held, judge.dataset)));
      }
      return values;
    };
    const values = new Map<number, number[]>();
    for (const lambda of lambdas) values.set(lambda, await valuesUnder(lambda));
    const chosen = values.get(Number(facts.lambda))!;
    expect(Math.max(...chosen)).toBe(Math.max(...[...values.values()].flat()));
    for (const [n, { value }] of choice.tried.entries()) expect(value).toBeCloseTo(chosen[n]!, 10);
    expect(choice.users).toBe(judge.dataset.split.valid.users.length);
    expect(choice.alone).toBeCloseTo(meanOf(await valuesOf(other!, judge.dataset)), 10);
  });

  it("asks validation users where there are no folds", async () => {
    const choice = new PriorChoice(served!);
    await choice.try(EASE, { lambdas: [50] });
    const { model } = await EASE.fit(dataset, { lambdas: [50] });
    for (const { weight, value } of choice.tried) {
      using served = new PriorModel(own!, asPrior(model), weight);
      expect(value).toBeCloseTo(meanOf(await valuesOf(served)), 10);
    }
  });
});
