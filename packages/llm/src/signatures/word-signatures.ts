import type { SparseMatrix } from "@prismrec/core/base";
import { unitRows } from "@prismrec/core/interests";

/** Words that join others and say nothing. */
const FUNCTION_WORDS = new Set(
  "a about an and are as at by for from his her in is it its of on or that the their this to who with".split(" "),
);

/** One locale for all machines: where a word begins and ends decides signatures, and with them fingerprints. */
const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/** The distinct words of a text in any script: lower case, without diacritics and function words, an English plural as its singular. */
export function wordsOf(text: string): string[] {
  const words = new Set<string>();
  const plain = text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .normalize("NFC")
    .toLowerCase();
  for (const { segment, isWordLike } of segmenter.segment(plain)) {
    if (isWordLike !== true || FUNCTION_WORDS.has(segment)) continue;
    words.add(segment.length > 4 ? segment.replace(/ies$/, "y").replace(/([^s])s$/, "$1") : segment);
  }
  return [...words];
}

/**
 * TF-IDF of the texts' words: rows of unit length (zero where a text has no word), a word weighing log(1 + N / texts that have
 * it), columns in the order of the words.
 */
export function wordSignatures(texts: readonly string[]): { readonly matrix: SparseMatrix; readonly words: string[] } {
  const perText = texts.map(wordsOf);
  const counts = new Map<string, number>();
  for (const words of perText) for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  const words = [...counts.keys()].sort();
  const columnOf = new Map(words.map((word, column) => [word, column]));
  const indptr = new Uint32Array(texts.length + 1);
  const indices: number[] = [];
  const values: number[] = [];
  perText.forEach((own, row) => {
    for (const column of own.map((word) => columnOf.get(word)!).sort((a, b) => a - b)) {
      indices.push(column);
      values.push(Math.log(1 + texts.length / counts.get(words[column]!)!));
    }
    indptr[row + 1] = indices.length;
  });
  const matrix = {
    indptr,
    indices: Uint32Array.from(indices),
    values: Float32Array.from(values),
    rows: texts.length,
    cols: Math.max(1, words.length),
  };
  return { matrix: unitRows(matrix), words: words.length === 0 ? [""] : words };
}
