import { isPrismrecError, type PrismrecError } from "@prismrec/core/base";
import { networkNamed } from "@prismrec/core/models";
import { describe, expect, it } from "vitest";
import {
  type ConfigOverrides,
  defaultTrainConfig,
  parseTrainConfig,
  presetFor,
  presetSettings,
  trainableModels,
  trainingShape,
} from "./config.js";
import { handMade } from "./testing/hand-made.js";

const short = handMade([
  [1, 2, 3],
  [2, 3, 4, 5],
  [1, 5],
]);
const many = handMade(Array.from({ length: 3300 }, () => [1, 2, 3]));
const long = handMade(Array.from({ length: 3 }, () => Array.from({ length: 12 }, (_, i) => i + 1)));

function refusal(value: unknown): PrismrecError {
  try {
    parseTrainConfig(value);
  } catch (error) {
    if (isPrismrecError(error, "CONFIG_INVALID")) return error;
    throw error;
  }
  throw new Error("accepted");
}

describe("presets", () => {
  const presets = trainableModels().flatMap((name) => {
    const model = networkNamed(name);
    return model.recipe.presets.map((preset) => [preset.name, presetSettings(model, preset)] as const);
  });

  it.each(presets)("%s is a valid configuration", (_, preset) => {
    expect(() => parseTrainConfig(preset)).not.toThrow();
  });

  it("fit the length of the histories", () => {
    expect(presetFor(networkNamed("ldmi"), trainingShape(short))?.name).toBe("sparse-short");
    expect(presetFor(networkNamed("ldmi"), trainingShape(long))?.name).toBe("recipe-v");
    expect(presetFor(networkNamed("comirec-sa"), trainingShape(short))?.name).toBe("comirec-sa");
  });

  it("give dynamic routing the higher learning rate that it needs", () => {
    expect(defaultTrainConfig("comirec-dr", short).optimizer.learningRate).toBe(5e-3);
    expect(defaultTrainConfig("comirec-sa", short).optimizer.learningRate).toBe(1e-3);
    expect(defaultTrainConfig("ldmi", short).optimizer.learningRate).toBe(1e-3);
  });
});

describe("defaultTrainConfig", () => {
  it("puts overrides over the preset, member by member", () => {
    const config = defaultTrainConfig("ldmi", short, { network: { dim: 16 }, optimizer: { learningRate: 0.01 } });
    expect(config).toMatchObject({
      network: { model: "ldmi", dim: 16, maxHistory: 20, layers: 1 },
      batchSize: 128,
      optimizer: { learningRate: 0.01, clipNorm: 5, weightDecay: 0 },
    });
  });

  it("keeps the patience of a recipe where another setting of stopping is given", () => {
    const stopping = { epochs: 3 };
    expect(defaultTrainConfig("comirec-sa", many, { stopping }).stopping).toMatchObject({ epochs: 3, patience: 10 });
    expect(defaultTrainConfig("ldmi", many, { stopping }).stopping).toMatchObject({ epochs: 3, patience: 4 });
  });

  it("is patient for a hundred steps where epochs are short, unless it is told otherwise", () => {
    const patienceOf = (overrides: ConfigOverrides, data = short) =>
      defaultTrainConfig("ldmi", data, overrides).stopping;
    expect(patienceOf({})).toMatchObject({ patience: 100 });
    expect(patienceOf({ batchSize: 2 })).toMatchObject({ patience: 50 });
    expect(patienceOf({ batchSize: 100 }, many)).toMatchObject({ patience: 4 });
    expect(patienceOf({ batchSize: 150 }, many)).toMatchObject({ patience: 5 });
    expect(patienceOf({ stopping: { patience: 2 } })).toMatchObject({ patience: 2 });
  });

  it("is whole: parsing it again changes nothing", () => {
    for (const model of trainableModels()) {
      const config = defaultTrainConfig(model, short);
      expect(parseTrainConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
    }
  });
});

describe("parseTrainConfig", () => {
  it.each([
    [{ lr: 1 }, /lr/],
    [{ optimizer: { lr: 1 } }, /optimizer/],
    [{ network: { model: "ldmi", heads: 2, depth: 3 } }, /depth/],
    [{ crowd: { wieght: 1 } }, /wieght/],
    [{ network: { model: "comirec-sa" }, positions: 4 }, /positions/],
  ])("refuses the unknown setting in %j by name", (value, name) => {
    expect(refusal(value).received).toMatch(name);
  });

  it.each([
    { batchSize: 0 },
    { dropout: 1 },
    { optimizer: { learningRate: 0 } },
    { optimizer: { learningRate: Number.NaN } },
    { stopping: { epochs: 0 } },
    { semanticDropout: 1.5 },
    { positions: 2.5 },
    { seed: "1" },
    "ldmi",
  ])("refuses %j", (value) => {
    // A bare name is no configuration: the defaults are asked for by an empty one.
    expect(() => parseTrainConfig(value)).toThrowError(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });

  it("names every wrong setting at once", () => {
    const { received } = refusal({ batchSize: 0, dropout: 2 });
    expect(received).toMatch(/batchSize/);
    expect(received).toMatch(/dropout/);
  });

  it("names the models there are when asked for another", () => {
    const error = refusal({ network: { model: "no-such-model" } });
    expect(error.received).toBe("no-such-model");
    expect(error.expected).toBe(trainableModels().join(", "));
  });
});
