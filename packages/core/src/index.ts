/**
 * What a program that uses prismrec's core types by name; everything else is reached through its floor:
 * `@prismrec/core/base`, `ops`, `data`, `data/import`, `metrics`, `nn`, `models`, `interests`, `recommend`.
 */
export { type ErrorCode, isPrismrecError, PrismrecError } from "./base/errors.js";
export type { CsrMatrix, Matrix } from "./base/matrix.js";
export type { Progress, RunOptions } from "./base/run-options.js";
export { setThreadBudget } from "./base/threads.js";
export type { History } from "./data/history.js";
export { type ImportOptions, importDataset } from "./data/import/import.js";
export { loadDataset, saveDataset } from "./data/storage.js";
export type { Catalog, Dataset, InteractionLog, Item } from "./data/types.js";
export { categoryClusterer } from "./interests/category-clusterer.js";
export type { Clusterer } from "./interests/types.js";
export { loadModel } from "./load-model.js";
export type { Ranking } from "./metrics/ranking.js";
export { rankingMetrics } from "./metrics/ranking-metrics.js";
export { fitEase } from "./models/ease.js";
export { fitItemKnn } from "./models/item-knn.js";
export type { Model, MultiInterestModel } from "./models/model.js";
export { fitMostPopular } from "./models/most-popular.js";
export { contrastiveLoss } from "./ops/contrastive-loss/contrastive-loss.js";
export { maxCover } from "./ops/max-cover/max-cover.js";
export { ExactIndex } from "./ops/similarity-search/exact-index.js";
export { softmaxLoss } from "./ops/softmax-loss/softmax-loss.js";
export { Recommender } from "./recommend/recommender.js";
export type { Recommendation, RecommendationRequest } from "./recommend/types.js";
