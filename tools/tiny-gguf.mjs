// Writes a tiny language model with random weights as GGUF v3, the same bits for the same seed: it says nothing
// sensible, but it loads and runs like a real one, so that everything around a model is tested without one.
// Usage: node tools/tiny-gguf.mjs --out FILE [--kind llama|bert] [--seed N]
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const DIM = 64;
const LAYERS = 2;
const HEADS = 4;
const FEED_FORWARD = 128;
const CONTEXT = 2048;
const ALIGNMENT = 32;

const TYPE = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };
const TOKEN = { normal: 1, unknown: 2, control: 3, byte: 6 };

/** Bytes that grow. */
class Writer {
  #parts = [];
  length = 0;

  bytes(part) {
    this.#parts.push(part);
    this.length += part.length;
  }

  u32(value) {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.bytes(part);
  }

  u64(value) {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt(value));
    this.bytes(part);
  }

  string(text) {
    const part = Buffer.from(text, "utf8");
    this.u64(part.length);
    this.bytes(part);
  }

  scalar(type, value) {
    if (type === TYPE.string) return this.string(value);
    const part = Buffer.alloc(type === TYPE.bool ? 1 : 4);
    if (type === TYPE.f32) part.writeFloatLE(value);
    else if (type === TYPE.i32) part.writeInt32LE(value);
    else if (type === TYPE.bool) part.writeUInt8(value ? 1 : 0);
    else part.writeUInt32LE(value);
    this.bytes(part);
  }

  entry(key, type, value) {
    this.string(key);
    if (Array.isArray(value)) {
      this.u32(TYPE.array);
      this.u32(type);
      this.u64(value.length);
      for (const one of value) this.scalar(type, one);
    } else {
      this.u32(type);
      this.scalar(type, value);
    }
  }

  pad() {
    this.bytes(Buffer.alloc((ALIGNMENT - (this.length % ALIGNMENT)) % ALIGNMENT));
  }

  toBuffer() {
    return Buffer.concat(this.#parts);
  }
}

/** Normal numbers of a small generator (mulberry32 and Box-Muller). */
function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** A SentencePiece vocabulary: specials, all bytes, letters, and a few words as whole pieces. */
function sentencePieces() {
  const words =
    "the of is about a title nature animals food cooking music art history science games sports travel crime comedy horror".split(
      " ",
    );
  const pieces = [
    ["<unk>", TOKEN.unknown],
    ["<s>", TOKEN.control],
    ["</s>", TOKEN.control],
    ...Array.from({ length: 256 }, (_, b) => [`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`, TOKEN.byte]),
    ...Array.from({ length: 94 }, (_, c) => [String.fromCharCode(33 + c), TOKEN.normal]),
    ["▁", TOKEN.normal],
  ];
  const seen = new Set(pieces.map(([piece]) => piece));
  // Every prefix of a word, so that merging letter by letter reaches it.
  for (const word of words) {
    for (let end = 1; end <= word.length; end++) {
      const piece = `▁${word.slice(0, end)}`;
      if (!seen.has(piece)) pieces.push([piece, TOKEN.normal]);
      seen.add(piece);
    }
  }
  return pieces;
}

/** A WordPiece vocabulary as llama.cpp keeps it: word starts with ▁, continuations without. */
function wordPieces() {
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-()&".split("");
  return [
    ["[PAD]", TOKEN.control],
    ["[UNK]", TOKEN.unknown],
    ["[CLS]", TOKEN.control],
    ["[SEP]", TOKEN.control],
    ...letters.map((letter) => [`▁${letter}`, TOKEN.normal]),
    ...letters.map((letter) => [letter, TOKEN.normal]),
  ];
}

function llama(normal) {
  const pieces = sentencePieces();
  const weights = (...shape) => ({ shape, value: () => normal() / Math.sqrt(shape[0]) });
  const ones = (n) => ({ shape: [n], value: () => 1 });
  const tensors = {
    "token_embd.weight": { shape: [DIM, pieces.length], value: () => normal() },
    "output_norm.weight": ones(DIM),
    "output.weight": weights(DIM, pieces.length),
  };
  for (let layer = 0; layer < LAYERS; layer++) {
    Object.assign(tensors, {
      [`blk.${layer}.attn_norm.weight`]: ones(DIM),
      [`blk.${layer}.attn_q.weight`]: weights(DIM, DIM),
      [`blk.${layer}.attn_k.weight`]: weights(DIM, DIM),
      [`blk.${layer}.attn_v.weight`]: weights(DIM, DIM),
      [`blk.${layer}.attn_output.weight`]: weights(DIM, DIM),
      [`blk.${layer}.ffn_norm.weight`]: ones(DIM),
      [`blk.${layer}.ffn_gate.weight`]: weights(DIM, FEED_FORWARD),
      [`blk.${layer}.ffn_up.weight`]: weights(DIM, FEED_FORWARD),
      [`blk.${layer}.ffn_down.weight`]: weights(FEED_FORWARD, DIM),
    });
  }
  return {
    tensors,
    metadata: [
      ["general.architecture", TYPE.string, "llama"],
      ["general.name", TYPE.string, "tiny random llama"],
      ["llama.context_length", TYPE.u32, CONTEXT],
      ["llama.embedding_length", TYPE.u32, DIM],
      ["llama.block_count", TYPE.u32, LAYERS],
      ["llama.feed_forward_length", TYPE.u32, FEED_FORWARD],
      ["llama.attention.head_count", TYPE.u32, HEADS],
      ["llama.attention.head_count_kv", TYPE.u32, HEADS],
      ["llama.attention.layer_norm_rms_epsilon", TYPE.f32, 1e-5],
      ["llama.rope.dimension_count", TYPE.u32, DIM / HEADS],
      ["llama.vocab_size", TYPE.u32, pieces.length],
      ["tokenizer.ggml.model", TYPE.string, "llama"],
      ["tokenizer.ggml.tokens", TYPE.string, pieces.map(([piece]) => piece)],
      [
        "tokenizer.ggml.scores",
        TYPE.f32,
        pieces.map(([piece, type]) => (type === TOKEN.normal ? String(piece).length : 0)),
      ],
      ["tokenizer.ggml.token_type", TYPE.i32, pieces.map(([, type]) => type)],
      ["tokenizer.ggml.bos_token_id", TYPE.u32, 1],
      ["tokenizer.ggml.eos_token_id", TYPE.u32, 2],
      ["tokenizer.ggml.unknown_token_id", TYPE.u32, 0],
      ["tokenizer.ggml.add_bos_token", TYPE.bool, true],
      ["tokenizer.ggml.add_space_prefix", TYPE.bool, true],
    ],
  };
}

function bert(normal) {
  const pieces = wordPieces();
  const weights = (...shape) => ({ shape, value: () => normal() / Math.sqrt(shape[0]) });
  const filled = (n, value) => ({ shape: [n], value: () => value });
  const norm = (name) => ({ [`${name}.weight`]: filled(DIM, 1), [`${name}.bias`]: filled(DIM, 0) });
  const dense = (name, from, to) => ({ [`${name}.weight`]: weights(from, to), [`${name}.bias`]: filled(to, 0) });
  const tensors = {
    "token_embd.weight": { shape: [DIM, pieces.length], value: () => normal() },
    "position_embd.weight": { shape: [DIM, 512], value: () => 0.1 * normal() },
    "token_types.weight": { shape: [DIM, 2], value: () => 0.1 * normal() },
    ...norm("token_embd_norm"),
  };
  for (let layer = 0; layer < LAYERS; layer++) {
    Object.assign(tensors, {
      ...dense(`blk.${layer}.attn_q`, DIM, DIM),
      ...dense(`blk.${layer}.attn_k`, DIM, DIM),
      ...dense(`blk.${layer}.attn_v`, DIM, DIM),
      ...dense(`blk.${layer}.attn_output`, DIM, DIM),
      ...norm(`blk.${layer}.attn_output_norm`),
      ...dense(`blk.${layer}.ffn_up`, DIM, FEED_FORWARD),
      ...dense(`blk.${layer}.ffn_down`, FEED_FORWARD, DIM),
      ...norm(`blk.${layer}.layer_output_norm`),
    });
  }
  return {
    tensors,
    metadata: [
      ["general.architecture", TYPE.string, "bert"],
      ["general.name", TYPE.string, "tiny random bert"],
      ["bert.context_length", TYPE.u32, 512],
      ["bert.embedding_length", TYPE.u32, DIM],
      ["bert.block_count", TYPE.u32, LAYERS],
      ["bert.feed_forward_length", TYPE.u32, FEED_FORWARD],
      ["bert.attention.head_count", TYPE.u32, HEADS],
      ["bert.attention.layer_norm_epsilon", TYPE.f32, 1e-12],
      ["bert.attention.causal", TYPE.bool, false],
      ["bert.pooling_type", TYPE.u32, 1],
      ["tokenizer.ggml.model", TYPE.string, "bert"],
      ["tokenizer.ggml.token_type_count", TYPE.u32, 2],
      ["tokenizer.ggml.tokens", TYPE.string, pieces.map(([piece]) => piece)],
      ["tokenizer.ggml.token_type", TYPE.i32, pieces.map(([, type]) => type)],
      ["tokenizer.ggml.padding_token_id", TYPE.u32, 0],
      ["tokenizer.ggml.unknown_token_id", TYPE.u32, 1],
      ["tokenizer.ggml.cls_token_id", TYPE.u32, 2],
      ["tokenizer.ggml.seperator_token_id", TYPE.u32, 3],
      ["tokenizer.ggml.bos_token_id", TYPE.u32, 2],
      ["tokenizer.ggml.eos_token_id", TYPE.u32, 3],
    ],
  };
}

/**
 * The model file's bytes.
 * @param {{kind?: "llama" | "bert", seed?: number}} [options]
 * @returns {Buffer}
 */
export function tinyGguf({ kind = "llama", seed = 1 } = {}) {
  const { tensors, metadata } = (kind === "bert" ? bert : llama)(normals(seed));
  const names = Object.keys(tensors);
  const count = (shape) => shape.reduce((product, n) => product * n, 1);
  const out = new Writer();
  out.bytes(Buffer.from("GGUF"));
  out.u32(3);
  out.u64(names.length);
  out.u64(metadata.length + 2);
  for (const [key, type, value] of metadata) out.entry(key, type, value);
  out.entry("general.alignment", TYPE.u32, ALIGNMENT);
  out.entry("general.file_type", TYPE.u32, 0);
  let offset = 0;
  for (const name of names) {
    const { shape } = tensors[name];
    out.string(name);
    out.u32(shape.length);
    for (const n of shape) out.u64(n);
    out.u32(0);
    out.u64(offset);
    offset += Math.ceil((count(shape) * 4) / ALIGNMENT) * ALIGNMENT;
  }
  out.pad();
  for (const name of names) {
    const { shape, value } = tensors[name];
    const data = Buffer.alloc(count(shape) * 4);
    for (let i = 0; i < data.length; i += 4) data.writeFloatLE(value(), i);
    out.bytes(data);
    out.pad();
  }
  return out.toBuffer();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      kind: { type: "string", default: "llama" },
      seed: { type: "string", default: "1" },
    },
  });
  if (
    values.out === undefined ||
    (values.kind !== "llama" && values.kind !== "bert") ||
    !Number.isSafeInteger(Number(values.seed))
  ) {
    process.stderr.write("usage: node tools/tiny-gguf.mjs --out FILE [--kind llama|bert] [--seed N]\n");
    process.exit(2);
  }
  const bytes = tinyGguf({ kind: values.kind, seed: Number(values.seed) });
  await mkdir(dirname(values.out), { recursive: true });
  await writeFile(`${values.out}.part`, bytes);
  await rename(`${values.out}.part`, values.out);
  process.stdout.write(`wrote ${bytes.length} bytes to ${values.out}\n`);
}
