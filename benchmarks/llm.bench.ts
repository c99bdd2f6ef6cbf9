import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import {
  CachedModel,
  facetPrefix,
  facetPreset,
  facetQuestion,
  KIND_OPTIONS,
  kindPrompt,
  LlamaCppModel,
  parseKind,
  readKinds,
} from "@prismrec/llm";
import { getLlama, type LlamaContextSequence, LlamaLogLevel, type LlamaModel, type Token } from "node-llama-cpp";
import type { Probe, ProbeRow } from "./lib/bench.js";
import { benchmarksRoot } from "./lib/paths.js";

const THREADS = 2;
/** Texts that a process of ours, and a context of node-llama-cpp, writes at once. */
const SEQUENCES = 8;
const LEAST_KINDS = 0.9;
const LEAST_FACETS = 0.75;
const LEAST_BATCHING = 1.4;

/** Folders where models may lie; `PRISMREC_READERS` names one more. */
const FOLDERS = [
  join(process.env.PRISMREC_SHARED ?? join(benchmarksRoot, "../../shared"), "models"),
  process.env.PRISMREC_READERS ?? join(homedir(), "readers"),
];
const MODELS = {
  "SmolLM2-135M": "SmolLM2-135M-Instruct.Q4_1.gguf",
  "Qwen2.5-Coder-1.5B": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
};

const NOUNS = ["Ocean", "Mountain", "Garden", "Castle", "Engine", "Violin", "Desert", "Harbour", "Comet", "Kitchen"];
const FORMS = [
  "Secrets of the",
  "Return to the",
  "A Night in the",
  "The Last",
  "My",
  "Beyond the",
  "Songs of the",
  "The Lost",
];
const titles = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${FORMS[i % 8]!} ${NOUNS[Math.floor(i / 8) % 10]!}`);

const probe: Probe = {
  op: "llm",
  title: "Language models",
  method:
    `items a second of reading a catalog with ${THREADS} threads, in turns with node-llama-cpp itself on the same tokens, the same ` +
    `number of sequences and threads, without probabilities: kinds (${SEQUENCES} sequences; bar ${LEAST_KINDS} of its speed), facets ` +
    `(one sequence, log-probabilities of the facet words; bar ${LEAST_FACETS}), and ${SEQUENCES} texts at once against one after another ` +
    `(bar ${LEAST_BATCHING} times)`,
  async *rows(quick) {
    for (const [name, file] of Object.entries(MODELS)) {
      const path = FOLDERS.map((folder) => join(folder, file)).find((candidate) => existsSync(candidate));
      if (path === undefined) {
        process.stderr.write(
          `${name} is left out: there is no ${file} in ${FOLDERS.join(" or ")} (PRISMREC_READERS)\n`,
        );
        continue;
      }
      yield* measure(name, path, titles(quick ? 16 : 40), quick ? 2 : 5);
    }
  },
};
export default probe;

async function* measure(name: string, path: string, texts: readonly string[], rounds: number): AsyncIterable<ProbeRow> {
  const ours = await LlamaCppModel.open({ modelPath: path, threads: THREADS, sequences: SEQUENCES });
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: THREADS, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: path });
  try {
    const prompts = texts.map((text) => kindPrompt("general", text));
    const writer = await Writer.open(model, SEQUENCES);
    const reader = new CachedModel(ours, undefined);
    const kinds = await inTurns(
      rounds,
      () => readKinds(reader, "general", texts),
      async () => (await writer.write(prompts)).map(parseKind),
    );
    await writer.close();
    yield row(`${name} kinds`, texts.length, kinds.ours, {
      ratio: kinds.ratio,
      bar: LEAST_KINDS,
      agrees: kinds.share,
      what: "answers equal",
    });

    const batching = await inTurns(
      rounds,
      () => ours.generate(prompts, KIND_OPTIONS),
      async () => {
        const answers: string[] = [];
        for (const prompt of prompts) answers.push(...(await ours.generate([prompt], KIND_OPTIONS)));
        return answers;
      },
    );
    yield row(`${name} ${SEQUENCES} texts at once`, texts.length, batching.ours, {
      ratio: batching.ratio,
      bar: LEAST_BATCHING,
      agrees: batching.share,
      what: "answers equal",
      against: "one after another",
    });

    const preset = facetPreset([]);
    const asked = { prefix: facetPrefix(preset), continuations: texts.map((text) => facetQuestion(preset, text)) };
    const evaluator = await Writer.open(model, 1);
    const facets = await inTurns(
      rounds,
      async () => (await ours.scoreNext({ ...asked, words: preset.words })).logProbs.map(() => "read"),
      async () => (await evaluator.evaluate(asked.prefix, asked.continuations)).map(() => "read"),
    );
    await evaluator.close();
    yield row(`${name} facets`, texts.length, facets.ours, {
      ratio: facets.ratio,
      bar: LEAST_FACETS,
      agrees: facets.share,
      what: "items read",
    });
  } finally {
    await ours.close();
    await llama.dispose();
  }
}

/** Seconds of both in turns after one unmeasured round, the median of the other's over ours, and the share of equal answers. */
async function inTurns(
  rounds: number,
  first: () => Promise<readonly string[]>,
  second: () => Promise<readonly string[]>,
): Promise<{ ours: number[]; ratio: number; share: number }> {
  const [a, b] = [await first(), await second()];
  const share = a.filter((answer, i) => answer === b[i]).length / a.length;
  const [ours, others]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    ours.push(await seconds(first));
    others.push(await seconds(second));
  }
  return { ours, ratio: median(others) / median(ours), share };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function row(
  variant: string,
  items: number,
  seconds: readonly number[],
  told: { ratio: number; bar: number; agrees: number; what: string; against?: string },
): ProbeRow {
  const { ratio, bar, agrees, what, against = "node-llama-cpp" } = told;
  return {
    variant,
    shape: `${items} items, ${THREADS} threads`,
    seconds,
    agrees: ratio >= bar,
    agreement: `${ratio.toFixed(2)} of ${against} (bar ${bar}); ${Math.round(100 * agrees)} % of ${what}`,
    note: `${(items / median(seconds)).toFixed(2)} items/s`,
  };
}

/** node-llama-cpp by itself: as many sequences of one context as told, each taking the next prompt, the shared beginning kept. */
class Writer {
  readonly #model: LlamaModel;
  readonly #sequences: readonly LlamaContextSequence[];
  readonly #dispose: () => Promise<void>;

  private constructor(model: LlamaModel, sequences: readonly LlamaContextSequence[], dispose: () => Promise<void>) {
    this.#model = model;
    this.#sequences = sequences;
    this.#dispose = dispose;
  }

  static async open(model: LlamaModel, sequences: number): Promise<Writer> {
    const context = await model.createContext({ contextSize: 512, sequences, batchSize: 512, threads: THREADS });
    const own = Array.from({ length: sequences }, () => context.getSequence());
    return new Writer(model, own, () => context.dispose());
  }

  close(): Promise<void> {
    return this.#dispose();
  }

  /** The greedy continuation of each prompt to the end of its line. */
  write(prompts: readonly string[]): Promise<string[]> {
    return this.#each(prompts, async (sequence, prompt) => {
      const rest = await this.#keepShared(sequence, this.#tokens(prompt));
      const generated: Token[] = [];
      let text = "";
      for await (const token of sequence.evaluate(rest, { temperature: 0 })) {
        if (this.#model.isEogToken(token)) break;
        generated.push(token);
        text = this.#model.detokenize(generated);
        if (text.includes("\n") || generated.length >= KIND_OPTIONS.maxTokens) break;
      }
      return text.split("\n")[0]!;
    });
  }

  /** Evaluates each continuation after the prefix, and takes one token. */
  evaluate(prefix: string, continuations: readonly string[]): Promise<string[]> {
    return this.#each(continuations, async (sequence, text) => {
      const rest = await this.#keepShared(sequence, this.#tokens(prefix + text));
      await sequence.controlledEvaluate([...rest.slice(0, -1), [rest.at(-1)!, { generateNext: { token: true } }]]);
      return "";
    });
  }

  #tokens(text: string): Token[] {
    const { bos } = this.#model.tokens;
    const tokens = this.#model.tokenize(text, false);
    return this.#model.tokens.shouldPrependBosToken && bos !== null ? [bos, ...tokens] : tokens;
  }

  async #each<T>(
    inputs: readonly string[],
    work: (sequence: LlamaContextSequence, input: string) => Promise<T>,
  ): Promise<T[]> {
    const results: T[] = [];
    let next = 0;
    await Promise.all(
      this.#sequences.map(async (sequence) => {
        for (let i = next++; i < inputs.length; i = next++) results[i] = await work(sequence, inputs[i]!);
      }),
    );
    return results;
  }

  async #keepShared(sequence: LlamaContextSequence, tokens: readonly Token[]): Promise<Token[]> {
    const held = sequence.contextTokens;
    let shared = 0;
    while (shared < Math.min(held.length, tokens.length - 1) && held[shared] === tokens[shared]) shared++;
    if (shared < sequence.nextTokenIndex) {
      await sequence.eraseContextTokenRanges([{ start: shared, end: sequence.nextTokenIndex }]);
    }
    return tokens.slice(sequence.nextTokenIndex);
  }
}
