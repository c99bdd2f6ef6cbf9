/**
 * The addon's surface, one section per op, headed by the name of the C++ contract header. What an asynchronous call is
 * given it copies before it returns, and what it writes to it writes when it settles; shared memory alone is used where
 * it lies, but for what addresses memory. Resizable, growable and detached memory is refused.
 */
export interface NativeBinding {
  // runtime
  runtimeInfo(): RuntimeInfo;
  /** The thread budget of this process, 1 to 1024; operations under way keep theirs. */
  setThreads(threads: number): void;
  /** Whether operations can run on a GPU, and why not; the first call opens the CUDA library. */
  cudaInfo(): CudaInfo;

  // gemm/gemm.h
  sgemm(args: SgemmArgs & NativeAsync): Promise<SgemmResult>;
  sgemmSync(args: SgemmArgs): SgemmResult;

  // ops/item_statistics/item_statistics.h
  cooccurrence(args: CooccurrenceArgs & NativeAsync): Promise<SparseResult>;
  cooccurrenceSync(args: CooccurrenceArgs): SparseResult;
  itemNeighbours(args: ItemNeighboursArgs & NativeAsync): Promise<SparseResult>;
  itemNeighboursSync(args: ItemNeighboursArgs): SparseResult;
  gram(args: GramArgs & NativeAsync): Promise<GramResult>;
  gramSync(args: GramArgs): GramResult;
  ppmi(args: PpmiArgs & NativeAsync): Promise<SparseResult>;
  ppmiSync(args: PpmiArgs): SparseResult;
  truncatedSvd(args: TruncatedSvdArgs & NativeAsync): Promise<TruncatedSvdResult>;
  truncatedSvdSync(args: TruncatedSvdArgs): TruncatedSvdResult;
  /** Writes the inverse over `a`, whose lower triangle alone is read. */
  choleskyInverse(args: CholeskyInverseArgs & NativeAsync): Promise<object>;
  choleskyInverseSync(args: CholeskyInverseArgs): object;

  // ops/similarity_search/similarity_search.h
  similarityIndexBuild(args: SimilarityIndexBuildArgs & NativeAsync): Promise<SimilarityIndexHandle>;
  similarityIndexBuildSync(args: SimilarityIndexBuildArgs): SimilarityIndexHandle;
  /** Reads what `similarityIndexSave` has written, and checks all of it. */
  similarityIndexOpen(args: SimilarityIndexOpenArgs & NativeAsync): Promise<SimilarityIndexHandle>;
  similarityIndexOpenSync(args: SimilarityIndexOpenArgs): SimilarityIndexHandle;
  similarityIndexInfo(index: SimilarityIndexHandle): SimilarityIndexInfo;
  /** Writes a file of `bytes` bytes, on the disk when the call has settled; one that fails leaves an incomplete file. */
  similarityIndexSave(args: SimilarityIndexSaveArgs & NativeAsync): Promise<object>;
  similarityIndexSaveSync(args: SimilarityIndexSaveArgs): object;
  /** Gives the index's memory back as soon as no search reads it; the handle must not be used again. */
  similarityIndexRelease(index: SimilarityIndexHandle): void;
  similaritySearch(args: SimilaritySearchArgs & NativeAsync): Promise<SimilaritySearchResult>;
  similaritySearchSync(args: SimilaritySearchArgs): SimilaritySearchResult;

  // ops/max_cover/max_cover.h
  maxCover(args: MaxCoverArgs & NativeAsync): Promise<MaxCoverResult>;
  maxCoverSync(args: MaxCoverArgs): MaxCoverResult;

  // ops/softmax_loss/softmax_loss.h
  softmaxLoss(args: SoftmaxLossArgs & NativeAsync): Promise<SoftmaxLossOutput>;
  softmaxLossSync(args: SoftmaxLossArgs): SoftmaxLossOutput;

  // ops/contrastive_loss/contrastive_loss.h
  contrastiveLoss(args: ContrastiveLossArgs & NativeAsync): Promise<ContrastiveLossOutput>;
  contrastiveLossSync(args: ContrastiveLossArgs): ContrastiveLossOutput;

  // ops/dynamic_routing/dynamic_routing.h
  dynamicRouting(args: DynamicRoutingArgs & NativeAsync): Promise<object>;
  dynamicRoutingSync(args: DynamicRoutingArgs): object;
  dynamicRoutingGrad(args: DynamicRoutingGradArgs & NativeAsync): Promise<object>;
  dynamicRoutingGradSync(args: DynamicRoutingGradArgs): object;

  // ops/tensor_kernels/tensor_kernels.h. Positional, synchronous, internal to core's tensor backend. A geometry is
  // [rank, sizes, strides of the first operand, strides of the second].
  tensorBinary(op: number, a: TensorArray, b: TensorArray, out: TensorArray, geometry: Int32Array): void;
  tensorCompare(op: number, a: TensorArray, b: TensorArray, out: Uint8Array, geometry: Int32Array): void;
  tensorUnary(op: number, x: Float32Array, out: Float32Array, p0: number, p1: number): void;
  tensorReduce(
    op: number,
    x: TensorArray,
    out: TensorArray,
    outer: number,
    extent: number,
    inner: number,
    scale: number,
  ): void;
  tensorArgMax(x: Float32Array, out: Int32Array, outer: number, extent: number, inner: number): void;
  tensorSoftmax(x: Float32Array, out: Float32Array, rows: number, cols: number, log: boolean): void;
  tensorSoftmaxGrad(
    y: Float32Array,
    dy: Float32Array,
    dx: Float32Array,
    rows: number,
    cols: number,
    log: boolean,
  ): void;
  tensorMaskedSoftmax(x: Float32Array, mask: TensorArray, out: Float32Array, rows: Int32Array, cols: number): void;
  tensorLayerNorm(
    x: Float32Array,
    gamma: Float32Array,
    beta: Float32Array,
    y: Float32Array,
    mean: Float32Array,
    rstd: Float32Array,
    rows: number,
    cols: number,
    epsilon: number,
  ): void;
  tensorLayerNormGrad(
    x: Float32Array,
    gamma: Float32Array,
    mean: Float32Array,
    rstd: Float32Array,
    dy: Float32Array,
    dx: Float32Array,
    dgamma: Float32Array,
    dbeta: Float32Array,
    rows: number,
    cols: number,
  ): void;
  tensorGeluGrad(x: Float32Array, dy: Float32Array, dx: Float32Array): void;
  tensorDropout(x: Float32Array, out: Float32Array, key: number, threshold: number, scale: number): void;
  tensorSelect(condition: Uint8Array, a: Float32Array, b: Float32Array, out: Float32Array): void;
  tensorCopy(src: TensorArray, srcOffset: number, dst: TensorArray, dstOffset: number, geometry: Int32Array): void;
  tensorGather(
    x: TensorArray,
    ids: Int32Array,
    out: TensorArray,
    batch: number,
    outer: number,
    axis: number,
    count: number,
    inner: number,
  ): void;
  tensorSegmentSum(x: Float32Array, ids: Int32Array, out: Float32Array, segments: number, inner: number): void;
  tensorMatmul(
    a: Float32Array,
    b: Float32Array,
    out: Float32Array,
    offsetsA: Uint32Array,
    offsetsB: Uint32Array,
    m: number,
    n: number,
    k: number,
    transposeA: boolean,
    transposeB: boolean,
  ): void;

  // ops/prefix_attention/prefix_attention.h. Positional, synchronous, internal to core's prefix attention. The arrays
  // written to need not be cleared.
  prefixAttention(
    logits: Float32Array,
    weights: Float32Array,
    lengths: Uint32Array,
    clusters: Int16Array,
    positions: Int32Array,
    length: number,
    collaborative: number,
    clusterCount: number,
  ): void;
  prefixAttentionGrad(
    weights: Float32Array,
    dWeights: Float32Array,
    dLogits: Float32Array,
    lengths: Uint32Array,
    clusters: Int16Array,
    positions: Int32Array,
    length: number,
    collaborative: number,
    clusterCount: number,
  ): void;

  // ops/embedding_rows/embedding_rows.h. Positional, synchronous, internal to core's embedding rows.
  embeddingAdam(
    values: Float32Array,
    m: Float32Array,
    v: Float32Array,
    gradients: Float32Array,
    step: number,
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    weightDecay: number,
    gradientScale: number,
  ): void;
  embeddingLazyAdam(
    table: Float32Array,
    m: Float32Array,
    v: Float32Array,
    steps: Uint32Array,
    ids: Uint32Array,
    gradients: Float32Array,
    cols: number,
    perRow: boolean,
    step: number,
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    weightDecay: number,
    gradientScale: number,
  ): void;
  /** An id of 2^32 - 1 stands for no row: zeros here, left out of sums below. */
  embeddingGatherRows(table: Float32Array, ids: Uint32Array, out: Float32Array, cols: number): void;
  embeddingScatterAddRows(table: Float32Array, ids: Uint32Array, rows: Float32Array, cols: number): void;
  embeddingUniqueRows(ids: Uint32Array, inverse: Int32Array): Uint32Array;
  /**
   * Sums of the parts' rows of equal id, `ids` being those of all parts one after the other, at the start of `out`
   * [at least ids.length * cols]; the distinct ids.
   */
  embeddingMergeRows(ids: Uint32Array, parts: readonly Float32Array[], out: Float32Array, cols: number): Uint32Array;
  /** Asks the system for large pages behind the table; what is there stays. */
  embeddingAdviseLargePages(table: Float32Array): void;
  /** Sum of squares over all arrays. */
  embeddingSquaredNorm(arrays: readonly Float32Array[]): number;
}

/** Loads the addon; throws an Error whose message says what was looked for and what went wrong. */
export declare function loadBinding(): NativeBinding;

/** What a tensor of the training backend is stored in. */
export type TensorArray = Float32Array | Int32Array | Uint8Array;

export interface CudaInfo {
  readonly usable: boolean;
  /** Where it is not: what is wrong, what would be right, what was found (may be empty), what to do (may be empty). */
  readonly reason?: string;
  readonly expected?: string;
  readonly received?: string;
  readonly hint?: string;
  /** Path of the opened library, empty where there is none. */
  readonly library: string;
  /** As CUDA writes versions: 12040 is 12.4; 0: no driver, no library. */
  readonly driver: number;
  readonly runtime: number;
  readonly devices: readonly CudaDevice[];
}

export interface CudaDevice {
  readonly name: string;
  /** 80: compute capability 8.0. */
  readonly capability: number;
  readonly memoryBytes: number;
  readonly freeBytes: number;
}

export interface RuntimeInfo {
  /** The instruction set in use: the best one of this machine, or PRISMREC_SIMD's. */
  readonly simd: "scalar" | "avx2" | "avx512" | "neon";
  /** Those that this machine runs. */
  readonly supportedSimd: readonly string[];
  readonly threads: number;
  /** Processors that the operating system and its container grant. */
  readonly hardwareThreads: number;
  readonly compiler: string;
}

/** c = alpha * op(a) * op(b) + beta * c, row-major. */
export interface SgemmArgs {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Whether `a` is [k, m] instead of [m, k]. */
  readonly transposeA?: boolean;
  /** Whether `b` is [n, k] instead of [k, n]. */
  readonly transposeB?: boolean;
  readonly alpha?: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly beta?: number;
  /** [m, n], written in place; without it the result brings a new one. */
  readonly c?: Float32Array;
  readonly variant?: string;
}

export interface SgemmResult {
  /** [m, n], where none was given. */
  readonly c?: Float32Array;
}

/** A sparse matrix of users and items; every entry counts 1. */
export interface SparseArgs {
  /** [rows + 1] */
  readonly indptr: Uint32Array;
  readonly indices: Uint32Array;
  readonly rows: number;
  readonly cols: number;
}

/** [cols, cols] or, from ppmi, [rows, cols]; within a row the indices ascend. */
export interface SparseResult {
  readonly indptr: Uint32Array;
  readonly indices: Uint32Array;
  readonly values: Float32Array;
}

export interface CooccurrenceArgs extends SparseArgs {
  /** [rows], what each pair of a row counts. */
  readonly weights?: Float32Array;
}

export interface ItemNeighboursArgs extends SparseArgs {
  /** [cols] */
  readonly squaredNorms: Float32Array;
  readonly neighbours: number;
}

export interface GramArgs extends CooccurrenceArgs {
  /** Added to the diagonal. */
  readonly ridge?: number;
}

export interface GramResult {
  /** [cols * cols] */
  readonly gram: Float32Array;
}

export interface PpmiArgs extends SparseArgs {
  readonly values?: Float32Array;
  readonly contextSmoothing: number;
}

export interface TruncatedSvdArgs extends SparseArgs {
  readonly values?: Float32Array;
  readonly rank: number;
  /** Columns of a block: at most min(rows, cols). */
  readonly width: number;
  /** Blocks of the subspace: rank <= width * blocks. */
  readonly blocks: number;
  /** [cols * width], random. */
  readonly start: Float32Array;
}

export interface TruncatedSvdResult {
  /** [rows * rank] */
  readonly u: Float32Array;
  /** [rank] */
  readonly singularValues: Float32Array;
}

export interface CholeskyInverseArgs {
  readonly n: number;
  /** [n * n] */
  readonly a: Float32Array;
  readonly variant?: string;
}

/** What every asynchronous call takes besides its arguments. */
export interface NativeAsync {
  /** On a SharedArrayBuffer; slot 0 turned to 1 makes the call reject early. */
  readonly cancel?: Int32Array;
}

declare const similarityIndexBrand: unique symbol;

/** An index in native memory; freed by `similarityIndexRelease`, at the latest when it is collected. */
export interface SimilarityIndexHandle {
  readonly [similarityIndexBrand]: true;
}

export interface SimilarityIndexBuildArgs {
  /** [rows * cols], copied. */
  readonly items: Float32Array;
  readonly rows: number;
  readonly cols: number;
  readonly metric: "dot" | "cosine";
  /** [rows], copied. */
  readonly bias?: Float32Array;
}

export interface SimilarityIndexOpenArgs {
  readonly path: string;
  /** Default false. Maps the file: processes share its pages, and whoever changes it then ends them. */
  readonly mapped?: boolean;
}

export interface SimilarityIndexSaveArgs {
  readonly index: SimilarityIndexHandle;
  readonly path: string;
}

export interface SimilarityIndexInfo {
  readonly rows: number;
  readonly cols: number;
  readonly metric: "dot" | "cosine";
  readonly bytes: number;
}

export interface SimilaritySearchArgs {
  readonly index: SimilarityIndexHandle;
  /** [queryCount * interestsPerQuery * cols] */
  readonly queries: Float32Array;
  readonly queryCount: number;
  readonly interestsPerQuery: number;
  readonly k: number;
  readonly readout: "max" | "log-sum-exp";
  /** [queryCount * interestsPerQuery] */
  readonly offsets?: Float32Array;
  /** [queryCount + 1] */
  readonly excludeIndptr?: Uint32Array;
  readonly excludeIndices?: Uint32Array;
  /** [ceil(rows / 32)] bit i % 32 of word i / 32: whether row i may be returned. */
  readonly filter?: Uint32Array;
  /** [queryCount * rows] added to the scores, or a value for each of `additiveIndices`, which are distinct in a row. */
  readonly additive?: Float32Array;
  /** [queryCount + 1] */
  readonly additiveIndptr?: Uint32Array;
  readonly additiveIndices?: Uint32Array;
  readonly variant?: string;
}

export interface SimilaritySearchResult {
  /** [queryCount * k] */
  readonly ids: Uint32Array;
  readonly scores: Float32Array;
  readonly interests: Uint16Array;
  /** [queryCount] */
  readonly counts: Uint32Array;
  /** Pairs of a present interest and a row: of which at least an 8-bit copy was read, and which were scored. */
  readonly read: number;
  readonly scored: number;
}

export interface MaxCoverArgs {
  /** [sets + 1] */
  readonly indptr: Uint32Array;
  readonly indices: Uint32Array;
  readonly elementCount: number;
  /** [elementCount] */
  readonly weights?: Float32Array;
  /** [sets] */
  readonly costs?: Float32Array;
  readonly maxSets: number;
  /** Absent: no limit. */
  readonly maxCost?: number;
  readonly repeats: number;
  readonly minGain: number;
  readonly solver: "exact" | "lazy" | "stochastic";
  readonly sampleLoss: number;
  readonly seed: number;
  readonly variant?: string;
}

export interface MaxCoverResult {
  readonly selected: Uint32Array;
  readonly gains: Float64Array;
  readonly value: number;
  readonly attainable: number;
  readonly upperBound: number;
  readonly cost: number;
  /** Which of the two knapsack greedies won; "gain" without costs. */
  readonly rule: "gain" | "ratio";
}

export interface SoftmaxLossArgs {
  /** R */
  readonly rows: number;
  /** J */
  readonly interestsPerRow: number;
  /** N */
  readonly itemCount: number;
  readonly dim: number;
  /** [R * J * dim] */
  readonly interests: Float32Array;
  /** [R * J] */
  readonly offsets?: Float32Array | undefined;
  /** [N * dim] */
  readonly items: Float32Array;
  /** [N] */
  readonly itemBias?: Float32Array | undefined;
  /** [R + 1] */
  readonly targetIndptr: Uint32Array;
  readonly targetIndices: Uint32Array;
  /** [R + 1] */
  readonly maskIndptr?: Uint32Array | undefined;
  readonly maskIndices?: Uint32Array | undefined;
  readonly readout: "log-sum-exp" | "max";
  /** [S], or [R * S] with candidatesPerRow, S >= 1; absent: the full catalog. */
  readonly candidates?: Uint32Array | undefined;
  /** Default false. */
  readonly candidatesPerRow?: boolean | undefined;
  /** As long as candidates. */
  readonly logQ?: Float32Array | undefined;
  /** [targetIndices.length] */
  readonly targetLogQ?: Float32Array | undefined;
  /** Default true. */
  readonly gradients?: boolean | undefined;
  /** [R * J * dim] where that gradient goes; absent: an array is made. */
  readonly interestGradient?: Float32Array | undefined;
  /** The same for the items: [N * dim], sampled: [min(N, candidates.length + targetIndices.length) * dim]. */
  readonly itemGradient?: Float32Array | undefined;
  readonly variant?: string | undefined;
}

/** The gradients are there unless they were not wanted, `itemIds` when sampled. */
export interface SoftmaxLossOutput {
  readonly loss: number;
  readonly countedRows: number;
  /** [R] */
  readonly rowLosses: Float32Array;
  /** [R * J * dim] */
  readonly interestGradient?: Float32Array;
  /** [R * J] */
  readonly offsetGradient?: Float32Array;
  /** [N * dim]; sampled: the first gradientRows * dim entries count. */
  readonly itemGradient?: Float32Array;
  /** [N]; sampled: the first gradientRows entries count. */
  readonly biasGradient?: Float32Array;
  /** The first gradientRows entries count. */
  readonly itemIds?: Uint32Array;
  readonly gradientRows?: number;
}

export interface ContrastiveLossArgs {
  readonly kind: "info-nce" | "supervised";
  readonly similarity: "cosine" | "dot";
  readonly temperature: number;
  readonly reduction: "mean" | "sum";
  /** n */
  readonly rowCount: number;
  readonly dim: number;
  /** [n * dim] queries, or labelled rows */
  readonly rows: Float32Array;
  /** [n * dim], info-nce */
  readonly positives?: Float32Array | undefined;
  /** m, default 0 */
  readonly negativeCount?: number | undefined;
  /** [m * dim] */
  readonly negatives?: Float32Array | undefined;
  /** [n + m] */
  readonly logQ?: Float32Array | undefined;
  /** [n] */
  readonly positiveIds?: Uint32Array | undefined;
  /** [m] */
  readonly negativeIds?: Uint32Array | undefined;
  readonly symmetric?: boolean | undefined;
  /** [n], supervised */
  readonly groups?: Int32Array | undefined;
  /** [n], supervised */
  readonly labels?: Int32Array | undefined;
  /** supervised */
  readonly scope?: "group" | "batch" | undefined;
  /** [n], supervised */
  readonly itemIds?: Uint32Array | undefined;
  /** Default true. */
  readonly gradients?: boolean | undefined;
  readonly variant?: string | undefined;
}

/** The gradients that the kind has are there unless they were not wanted. */
export interface ContrastiveLossOutput {
  readonly loss: number;
  readonly countedRows: number;
  /** [n] */
  readonly rowLosses: Float32Array;
  /** [n * dim] */
  readonly rowGradient?: Float32Array;
  /** [n * dim] */
  readonly positiveGradient?: Float32Array;
  /** [m * dim] */
  readonly negativeGradient?: Float32Array;
}

export interface DynamicRoutingProblem {
  /** B */
  readonly users: number;
  /** T */
  readonly length: number;
  /** K */
  readonly interests: number;
  /** d */
  readonly dim: number;
  /** [B], each at most T */
  readonly lengths: Uint32Array;
  /** [B * T * d]; with `rows` a table whose rows have d elements */
  readonly events: Float32Array;
  /** [B * T] */
  readonly rows?: Uint32Array | undefined;
  /** [mapCount * d * K * d], or [mapCount * d * d] when shared */
  readonly maps: Float32Array;
  /** 1, or at least T */
  readonly mapCount: number;
  /** Default false. */
  readonly shared?: boolean | undefined;
  readonly variant?: string | undefined;
}

export interface DynamicRoutingArgs extends DynamicRoutingProblem {
  /** R >= 1 */
  readonly iterations: number;
  /** [K * T] */
  readonly initial: Float32Array;
  /** Written: [B * K * d] */
  readonly vectors: Float32Array;
  /** Written: [B * K * d] */
  readonly sums: Float32Array;
  /** Written: [B * K * T] */
  readonly coefficients: Float32Array;
}

export interface DynamicRoutingGradArgs extends DynamicRoutingProblem {
  /** [B * K * T] */
  readonly coefficients: Float32Array;
  /** [B * K * d] */
  readonly sums: Float32Array;
  /** [B * K * d] */
  readonly vectorGradient: Float32Array;
  /** Written: [B * T * d] */
  readonly eventGradient: Float32Array;
  /** Written: as `maps`. */
  readonly mapGradient: Float32Array;
}
