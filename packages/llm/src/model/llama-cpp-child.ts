/**
 * The process that holds llama.cpp: reads its options from argv, answers tasks one at a time, but for short texts, of which it
 * writes several at once, and ends when its parent does (the IPC channel closes). It imports nothing of the project at run time, so that it starts fast.
 */
import {
  getLlama,
  type Llama,
  LlamaChatSession,
  type LlamaContextSequence,
  type LlamaGrammar,
  LlamaGrammarEvaluationState,
  LlamaLogLevel,
  type Token,
} from "node-llama-cpp";
import type { ChildOptions, ChildReply, ChildRequest, ChildTask, FailureKind, TaskResult } from "./protocol.js";

/** A schema that is only known when it is asked with. */
type JsonSchema = Parameters<Llama["createGrammarForJsonSchema"]>[0];

class TaskFailure extends Error {
  constructor(
    readonly kind: FailureKind,
    message: string,
  ) {
    super(message);
  }
}

/** Longest prompt and answer of a text that is written beside others; longer ones are written alone. */
const SHORT_CONTEXT = 512;

function reply(message: ChildReply): void {
  process.send?.(message);
}

async function serve(options: ChildOptions): Promise<void> {
  const llama = await getLlama({
    gpu: options.gpu ? "auto" : false,
    build: "never",
    maxThreads: options.threads,
    logLevel: LlamaLogLevel.error,
  });
  const model = await llama.loadModel({ modelPath: options.modelPath });
  const contextSize = Math.min(options.contextSize, model.trainContextSize);

  let sequence: LlamaContextSequence | undefined;
  const textSequence = async (): Promise<LlamaContextSequence> => {
    if (sequence === undefined) {
      const context = await model.createContext({
        contextSize,
        sequences: 1,
        batchSize: 512,
        threads: options.threads,
      });
      sequence = context.getSequence();
    }
    return sequence;
  };

  /** Sequences of a context of their own: scores keep the bits that they have alone. */
  let free: Promise<LlamaContextSequence[]> | undefined;
  const waiting: ((sequence: LlamaContextSequence) => void)[] = [];
  const shortContext = Math.min(SHORT_CONTEXT, contextSize);
  const openSequences = async (): Promise<LlamaContextSequence[]> => {
    const context = await model.createContext({
      contextSize: shortContext,
      sequences: options.sequences,
      batchSize: 512,
      threads: options.threads,
    });
    return Array.from({ length: options.sequences }, () => context.getSequence());
  };
  const takeSequence = async (): Promise<LlamaContextSequence> => {
    free ??= openSequences();
    const taken = (await free).pop();
    return taken ?? new Promise((resolve) => waiting.push(resolve));
  };
  const giveBack = async (sequence: LlamaContextSequence): Promise<void> => {
    const next = waiting.shift();
    if (next === undefined) (await free)?.push(sequence);
    else next(sequence);
  };

  /** Tasks that use the one sequence for all else wait for one another. */
  let tail: Promise<unknown> = Promise.resolve();
  const alone = (signal: AbortSignal, work: () => Promise<Partial<TaskResult>>): Promise<Partial<TaskResult>> => {
    const done = tail.then(() => (signal.aborted ? {} : work()));
    tail = done.catch(() => undefined);
    return done;
  };

  /** The prefix that the sequence starts with, evaluated alone; undefined when anything else was evaluated. */
  let heldPrefix: string | undefined;

  const promptTokens = (text: string): Token[] => {
    const tokens = model.tokenize(text, false);
    const { bos } = model.tokens;
    return model.tokens.shouldPrependBosToken && bos !== null ? [bos, ...tokens] : tokens;
  };

  /** Leaves in the sequence what it shares with `tokens` and returns the rest, at least one token. */
  const keepShared = async (seq: LlamaContextSequence, tokens: readonly Token[], spare: number): Promise<Token[]> => {
    if (tokens.length + spare > contextSize) {
      throw new TaskFailure("too-long", `${tokens.length} tokens do not fit into a context of ${contextSize}`);
    }
    const held = seq.contextTokens;
    let shared = 0;
    while (shared < Math.min(held.length, tokens.length - 1) && held[shared] === tokens[shared]) shared++;
    if (shared < seq.nextTokenIndex) await seq.eraseContextTokenRanges([{ start: shared, end: seq.nextTokenIndex }]);
    // Not every architecture can forget part of a sequence; what is left decides where to go on.
    return tokens.slice(seq.nextTokenIndex);
  };

  /**
   * Leaves the prefix in the sequence and returns the continuation's tokens. The prefix is always evaluated alone and
   * the rest always from its end, so that a score has the same bits whatever was asked before.
   */
  const startFromPrefix = async (seq: LlamaContextSequence, prefix: string, continuation: string): Promise<Token[]> => {
    const start = promptTokens(prefix);
    const whole = promptTokens(prefix + continuation);
    if (whole.length + 1 > contextSize) {
      throw new TaskFailure("too-long", `${whole.length} tokens do not fit into a context of ${contextSize}`);
    }
    const held = seq.contextTokens;
    if (prefix !== heldPrefix || held.length < start.length) {
      await seq.clearHistory();
      await seq.evaluateWithoutGeneratingNewTokens(start);
      heldPrefix = prefix;
    }
    let shared = 0;
    while (shared < Math.min(start.length, whole.length - 1) && start[shared] === whole[shared]) shared++;
    if (shared < start.length) {
      // The last piece of the prefix merges with the continuation: such prompts are evaluated in one go.
      heldPrefix = undefined;
      await seq.clearHistory();
      return whole;
    }
    await seq.eraseContextTokenRanges([{ start: shared, end: seq.nextTokenIndex }]);
    return whole.slice(seq.nextTokenIndex);
  };

  const score = async (task: Extract<ChildTask, { kind: "score" }>): Promise<Partial<TaskResult>> => {
    const seq = await textSequence();
    const rest = await startFromPrefix(seq, task.prefix, task.continuation);
    const tokens = task.tokens as readonly Token[];
    const filter = { tokens, includeSelected: true };
    const outputs = await seq.controlledEvaluate([
      ...rest.slice(0, -1),
      [rest[rest.length - 1]!, { generateNext: { logits: { filter }, totalLogitWeight: true } }],
    ]);
    const next = outputs[outputs.length - 1]?.next;
    const { logits, totalLogitWeight } = next ?? {};
    if (logits === undefined || totalLogitWeight === undefined) {
      throw new TaskFailure("unsupported", "the model gave no logits for the next token");
    }
    // Greedy sampling selects the largest logit, so the filtered map holds the maximum the weight is relative to.
    const max = Math.max(...logits.values());
    const logTotal = max + Math.log(totalLogitWeight);
    return { numbers: tokens.map((token) => (logits.get(token) ?? Number.NaN) - logTotal), promptTokens: rest.length };
  };

  const grammarOf = async ({
    grammar,
    jsonSchema,
  }: Extract<ChildTask, { kind: "generate" }>): Promise<LlamaGrammar | undefined> => {
    if (grammar !== undefined) return llama.createGrammar({ grammar });
    return jsonSchema === undefined ? undefined : llama.createGrammarForJsonSchema(jsonSchema as JsonSchema);
  };

  const continueText = async (
    task: Extract<ChildTask, { kind: "generate" }>,
    signal: AbortSignal,
  ): Promise<Partial<TaskResult>> => {
    if (options.sequences > 1 && promptTokens(task.prompt).length + task.maxTokens < shortContext) {
      const seq = await takeSequence();
      try {
        return signal.aborted ? { text: "" } : await continueIn(seq, task, signal);
      } finally {
        await giveBack(seq);
      }
    }
    return alone(signal, async () => {
      heldPrefix = undefined;
      return continueIn(await textSequence(), task, signal);
    });
  };

  const continueIn = async (
    seq: LlamaContextSequence,
    task: Extract<ChildTask, { kind: "generate" }>,
    signal: AbortSignal,
  ): Promise<Partial<TaskResult>> => {
    const rest = await keepShared(seq, promptTokens(task.prompt), task.maxTokens);
    const grammar = await grammarOf(task);
    const state = grammar === undefined ? undefined : new LlamaGrammarEvaluationState({ model, grammar });
    const generated: Token[] = [];
    let text = "";
    for await (const token of seq.evaluate(rest, {
      temperature: task.temperature,
      ...(task.seed === undefined ? {} : { seed: task.seed }),
      ...(state === undefined ? {} : { grammarEvaluationState: state }),
    })) {
      if (signal.aborted || model.isEogToken(token)) break;
      generated.push(token);
      text = model.detokenize(generated);
      const cut = task.stop.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      if (cut.length > 0) {
        text = text.slice(0, Math.min(...cut));
        break;
      }
      if (generated.length >= task.maxTokens) break;
    }
    return { text, promptTokens: rest.length, generatedTokens: generated.length };
  };

  const chat = async (
    task: Extract<ChildTask, { kind: "generate" }>,
    signal: AbortSignal,
  ): Promise<Partial<TaskResult>> => {
    const seq = await textSequence();
    heldPrefix = undefined;
    const length = promptTokens(`${task.system ?? ""}\n${task.prompt}`).length;
    if (length + task.maxTokens + 64 > contextSize) {
      throw new TaskFailure("too-long", `${length} tokens and an answer do not fit into a context of ${contextSize}`);
    }
    const before = seq.tokenMeter.getState();
    const session = new LlamaChatSession({
      contextSequence: seq,
      ...(task.system === undefined ? {} : { systemPrompt: task.system }),
    });
    const grammar = await grammarOf(task);
    const text = await session.prompt(task.prompt, {
      maxTokens: task.maxTokens,
      temperature: task.temperature,
      ...(task.seed === undefined ? {} : { seed: task.seed }),
      ...(grammar === undefined ? {} : { grammar }),
      signal,
      stopOnAbortSignal: true,
    });
    session.dispose({ disposeSequence: false });
    const used = seq.tokenMeter.diff(before);
    return { text, promptTokens: used.usedInputTokens, generatedTokens: used.usedOutputTokens };
  };

  let embedding: Awaited<ReturnType<typeof model.createEmbeddingContext>> | undefined;
  const embed = async (text: string): Promise<Partial<TaskResult>> => {
    embedding ??= await model.createEmbeddingContext({
      contextSize: Math.min(512, contextSize),
      threads: options.threads,
    });
    const tokens = model.tokenize(text).slice(0, Math.min(512, contextSize) - 2);
    const { vector } = await embedding.getEmbeddingFor(tokens);
    return { numbers: vector, promptTokens: tokens.length };
  };

  /** The token that follows `base` when each word is the next one, or -1 where words merge with what precedes. */
  const firstTokens = (base: string, words: readonly string[]): number[] => {
    const start = model.tokenize(base);
    return words.map((word) => {
      const tokens = model.tokenize(`${base} ${word}`);
      const clean = start.every((token, i) => tokens[i] === token);
      return clean ? (tokens[start.length] ?? -1) : -1;
    });
  };

  const answer = async (task: ChildTask, signal: AbortSignal): Promise<Partial<TaskResult>> => {
    switch (task.kind) {
      case "words":
        return { numbers: firstTokens(task.base, task.words) };
      case "score":
        return alone(signal, () => score(task));
      case "generate":
        return task.chat ? alone(signal, () => chat(task, signal)) : continueText(task, signal);
      case "embed":
        return alone(signal, () => embed(task.text));
    }
  };

  const running = new Map<number, AbortController>();
  process.on("message", (message: ChildRequest) => {
    if ("cancel" in message) {
      running.get(message.cancel)?.abort();
      return;
    }
    const { id, task } = message;
    const controller = new AbortController();
    running.set(id, controller);
    const start = performance.now();
    answer(task, controller.signal)
      .then((result) => {
        const seconds = (performance.now() - start) / 1000;
        reply({ id, result: { promptTokens: 0, generatedTokens: 0, ...result, seconds } });
      })
      .catch((error: unknown) => {
        const failure = error instanceof TaskFailure ? error.kind : "failed";
        reply({ id, failure, message: error instanceof Error ? error.message : String(error) });
      })
      .finally(() => running.delete(id));
  });
  reply({ ready: true });
}

// The terminal's Ctrl-C reaches the whole group; the parent decides what it means.
process.on("SIGINT", () => undefined);
process.on("disconnect", () => process.exit(0));
serve(JSON.parse(process.argv[2] ?? "{}") as ChildOptions).catch((error: unknown) => {
  reply({ openFailed: error instanceof Error ? error.message : String(error) });
});
