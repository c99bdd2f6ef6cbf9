"""The whole training of ldmi's mixture of interests in PyTorch, from nothing to a given validation figure.

Item vectors start as U sqrt(S) of a truncated SVD of the PPMI of co-occurrence (scipy), the item bias at the log of popularity;
every epoch draws cuts, batches and positions anew (vectorised), steps as ldmi_step.py does, and ranks the catalog for every
validation user. A call trains with the next seed until recall@k + ndcg@k of an epoch reaches the figure.
"""
import os

import numpy as np
import scipy.sparse as sparse
import torch
from ldmi_step import Batch, Model, Sequences, Trainer, mean_positions, packed
from protocol import Case, Contestant, serve
from scipy.sparse.linalg import svds

CONTEXT_SMOOTHING = 0.75
EVALUATED_AT_ONCE = 128


def start(sequences: Sequences, catalog: int, d: int, seed: int):
    """[catalog, d] rows of mean norm 1 over the items that have an event."""
    weights = np.repeat(1 / np.sqrt(sequences.lengths), sequences.lengths)
    taken = sparse.csr_matrix((weights, sequences.items, sequences.indptr), (len(sequences.lengths), catalog))
    counts = (taken.T @ taken).tocoo()
    off = counts.row != counts.col
    row, column, value = counts.row[off], counts.col[off], counts.data[off]
    total = np.bincount(row, value, catalog)
    context = total**CONTEXT_SMOOTHING
    information = np.log(value * context.sum() / (total[row] * context[column]))
    kept = information > 0
    matrix = sparse.csr_matrix((information[kept].astype(np.float32), (row[kept], column[kept])), (catalog, catalog))
    u, s, _ = svds(matrix, k=d, random_state=seed)
    vectors = u * np.sqrt(s)
    seen = np.bincount(sequences.items, minlength=catalog) > 0
    return torch.from_numpy(np.ascontiguousarray(vectors / np.linalg.norm(vectors[seen], axis=1).mean(), np.float32))


class Validation:
    def __init__(self, case: Case):
        self.case, self.k = case, case.parameters["cutoff"]
        self.histories = Sequences(*(case.numpy(f"valid-{name}") for name in ("indptr", "items", "clusters")))
        indptr, items = case.numpy("target-indptr"), case.numpy("target-items").astype(np.int64) - 1
        self.targets = [items[indptr[user] : indptr[user + 1]] for user in range(len(indptr) - 1)]

    def figure(self, model: Model) -> float:
        """recall@k + ndcg@k, means over users."""
        discounts = 1 / np.log2(np.arange(2, self.k + 2))
        ideal, sums = np.cumsum(discounts), []
        newest = lambda held: held & (np.arange(held.shape[1]) == 0)
        with torch.no_grad():
            for first in range(0, len(self.targets), EVALUATED_AT_ONCE):
                users = np.arange(first, min(first + EVALUATED_AT_ONCE, len(self.targets)))
                batch = Batch(self.case, self.histories, users, self.histories.lengths[users], newest)
                top = model.scores(*model(batch), self.seen(users)).topk(self.k, 1).indices.numpy()
                for user, items in zip(users, top):
                    hits, wanted = np.isin(items, self.targets[user]), len(self.targets[user])
                    sums.append(hits.sum() / wanted + (hits * discounts).sum() / ideal[min(wanted, self.k) - 1])
        return float(np.mean(sums))

    def seen(self, users):
        """Everything in the whole history, read by the model or not."""
        rows = np.repeat(np.arange(len(users)), self.histories.lengths[users])
        first, past = self.histories.indptr[users[0]], self.histories.indptr[users[-1] + 1]
        return Seen(torch.from_numpy(np.stack([rows, self.histories.items[first:past]])))


class Seen:
    def __init__(self, seen):
        self.seen = seen


def prepare(case: Case) -> Contestant:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    parameters, popularity = case.parameters, case.numpy("popularity")
    catalog, epochs = len(popularity), parameters["epochs"]
    parameters["items"] = catalog
    sequences = Sequences(*(case.numpy(name) for name in ("indptr", "items", "clusters")))
    validation, reached = Validation(case), []

    def run():
        seed = len(reached) + 1
        torch.manual_seed(seed)
        rng, model = np.random.default_rng(seed), Model(case)
        with torch.no_grad():
            model.table.copy_(start(sequences, catalog, parameters["d"], seed))
            model.item_bias.copy_(torch.from_numpy(np.log(popularity + 1.0) - np.log(popularity.mean() + 1)))
        trainer = Trainer(model)
        for epoch in range(1, epochs + 1):
            batches = packed(case, sequences, rng)
            positions = mean_positions(batches)
            for batch in batches:
                trainer.step(batch, positions)
            model.eval()
            figure = validation.figure(model)
            model.train()
            if figure >= parameters["figure"]:
                reached.append((figure, epoch))
                return
        raise RuntimeError(f"recall + ndcg is {figure:.4f} after {epochs} epochs, below {parameters['figure']}")

    return Contestant(run, lambda: dict(zip(("figures", "epochs"), np.array(reached, np.float64).T.copy())))


serve(prepare)
