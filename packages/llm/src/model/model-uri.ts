import { PrismrecError, sha256File } from "@prismrec/core/base";
import { identifyServerModel } from "./server-model.js";

/** Where a language model is: a file that llama.cpp opens here, or a model of a server. */
export type ModelPlace =
  | { readonly kind: "file"; readonly path: string; readonly gpu?: boolean; readonly contextSize?: number }
  | { readonly kind: "server"; readonly base: string; readonly model?: string };

const FILE_SCHEME = "node-llama-cpp:";

/** Whether a model is named by an address of any kind, not by a file's bare path. */
export function isModelAddress(uri: string): boolean {
  return isServer(uri) || uri.startsWith(FILE_SCHEME);
}

function isServer(uri: string): boolean {
  return /^https?:\/\//.test(uri);
}

/**
 * Takes a model's name apart: a GGUF file's path; `node-llama-cpp:PATH?gpu=true&contextSize=4096`, the same with options of
 * llama.cpp; `http://HOST/v1#MODEL`, a model of any server that speaks OpenAI's interface (`#MODEL` may be left out where the
 * server has one).
 *
 * @throws PrismrecError CONFIG_INVALID for an address that cannot be used, or that holds a key: keys are read from the
 *   environment alone. What it holds is not repeated in the error.
 */
export function parseModelUri(uri: string): ModelPlace {
  if (uri.startsWith(FILE_SCHEME)) return fileWithOptions(uri.slice(FILE_SCHEME.length));
  if (!isServer(uri)) return { kind: "file", path: uri };
  let url: URL;
  try {
    url = new URL(uri);
  } catch {
    throw unusable("something that is no address");
  }
  if (url.username !== "" || url.password !== "") throw unusable("an address with a name or a password in it");
  if (url.search !== "") throw unusable("an address with a query");
  let model: string;
  try {
    model = decodeURIComponent(url.hash.slice(1));
  } catch {
    throw unusable("a model's name with a broken % in it");
  }
  const base = `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
  return { kind: "server", base, ...(model === "" ? {} : { model }) };
}

/** Identity of the model that a name stands for now (`LanguageModel.hash`); opens nothing. */
export async function identifyModel(uri: string, signal?: AbortSignal): Promise<string> {
  const place = parseModelUri(uri);
  if (place.kind === "file") return sha256File(place.path, signal);
  return (await identifyServerModel({ ...place, ...(signal === undefined ? {} : { signal }) })).hash;
}

function fileWithOptions(rest: string): ModelPlace {
  const at = rest.indexOf("?");
  const path = at < 0 ? rest : rest.slice(0, at);
  let gpu: boolean | undefined;
  let contextSize: number | undefined;
  for (const [name, value] of new URLSearchParams(at < 0 ? "" : rest.slice(at + 1))) {
    if (name === "gpu" && /^(?:true|false)$/.test(value)) gpu = value === "true";
    else if (name === "contextSize" && /^[1-9]\d*$/.test(value)) contextSize = Number(value);
    else {
      throw new PrismrecError("CONFIG_INVALID", "an option of node-llama-cpp cannot be used", {
        expected: "gpu=true or gpu=false, contextSize=TOKENS",
        received: `${name}=${value}`,
      });
    }
  }
  return {
    kind: "file",
    path,
    ...(gpu === undefined ? {} : { gpu }),
    ...(contextSize === undefined ? {} : { contextSize }),
  };
}

function unusable(received: string): PrismrecError {
  return new PrismrecError("CONFIG_INVALID", "the language model's address cannot be used", {
    expected: "http://HOST/v1#MODEL or https://HOST/v1#MODEL",
    received,
    hint: "Give a server's key in PRISMREC_LLM_KEY, not in its address.",
  });
}
