import type { LanguageModel } from "./language-model.js";
import { LlamaCppModel } from "./llama-cpp.js";
import { parseModelUri } from "./model-uri.js";
import { type ServerLimits, ServerModel } from "./server-model.js";

export interface OpenModelOptions extends ServerLimits {
  /** Threads of a model that runs here (default: the thread budget). */
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/**
 * Opens the language model that a name stands for (`parseModelUri`): a GGUF file by llama.cpp in processes of its own, or a
 * model of a server. What it can do is said by its `capabilities`.
 *
 * @throws PrismrecError CONFIG_INVALID for a name that cannot be used; what `LlamaCppModel.open` and `ServerModel.open` throw
 */
export async function openLanguageModel(uri: string, options: OpenModelOptions = {}): Promise<LanguageModel> {
  const place = parseModelUri(uri);
  const { threads, signal, ...limits } = options;
  const watched = signal === undefined ? {} : { signal };
  if (place.kind === "server") return ServerModel.open({ ...place, ...limits, ...watched });
  const { kind: _, path, ...own } = place;
  return LlamaCppModel.open({ modelPath: path, ...own, ...watched, ...(threads === undefined ? {} : { threads }) });
}
