"""InfoNCE and supervised contrastive loss in PyTorch, loss and gradients of rows that have unit length already.

torch-naive: the whole matrix of logits, differentiated by autograd: what most repositories do.
torch-fused: the analytic gradient over chunks of rows, in place: the strongest form that PyTorch allows without a kernel.
"""
import os
from concurrent.futures import ThreadPoolExecutor

import torch
from protocol import Case, Contestant, serve, split

TEMPERATURE = 0.1
CHUNK = 1024


def info_nce_naive(queries, positives):
    loss = torch.nn.functional.cross_entropy(queries @ positives.T / TEMPERATURE, torch.arange(len(queries)))
    loss.backward()
    return {"loss": loss.item(), "queries": queries.grad, "positives": positives.grad}


def supervised_naive(rows, labels, groups):
    """The mean over rows that have a positive of log sum exp (others) - mean over positives of the logit."""
    logits = rows @ rows.T / TEMPERATURE
    alone = torch.eye(len(rows), dtype=torch.bool)
    others = (groups[:, None] == groups) & ~alone
    positive = (labels[:, None] == labels) & others
    count = positive.sum(1)
    total = logits.masked_fill(~others, float("-inf")).logsumexp(1)
    mean = logits.masked_fill(~positive, 0).sum(1) / count.clamp(min=1)
    loss = (total - mean)[count > 0].mean()
    loss.backward()
    return {"loss": loss.item(), "rows": rows.grad}


def softmax_rows(logits, weight):
    """Turns logits into weight * softmax, in place; returns the sum of the log-sum-exps of rows with a weight."""
    largest = logits.amax(1, keepdim=True)
    total = logits.sub_(largest).exp_().sum(1, keepdim=True)
    logits.mul_(weight / total)
    return float(((largest + total.log()) * (weight > 0)).sum())


class Fused:
    """Sweeps over chunks of rows: P = softmax(A Bᵀ / t), then P B for the rows and Pᵀ A for the columns."""

    def __init__(self, rows, columns, outer, chunk):
        self.rows, self.columns, self.chunk = rows, columns, chunk
        self.parts = split(len(rows), outer)
        self.buffers = [torch.empty(min(chunk, len(rows)), len(columns)) for _ in self.parts]
        self.pool = ThreadPoolExecutor(len(self.parts))

    def sweep(self, weight, own):
        """weight [N, 1]; `own`: whether a row is itself a column, which it must not find."""
        row_gradient = torch.empty_like(self.rows)
        work = zip(self.parts, self.buffers)
        done = list(self.pool.map(lambda one: self._part(*one, weight, own, row_gradient), work))
        column_gradient = done[0][1]
        for _, other in done[1:]:
            column_gradient += other
        return sum(value for value, _ in done), row_gradient, column_gradient

    def _part(self, part, buffer, weight, own, row_gradient):
        value = 0.0
        column_gradient = torch.zeros_like(self.columns)
        for low in range(part.start, part.stop, self.chunk):
            here = slice(low, min(low + self.chunk, part.stop))
            rows = self.rows[here]
            logits = buffer[: len(rows)]
            torch.mm(rows, self.columns.T, out=logits)
            logits.mul_(1 / TEMPERATURE)
            if own:
                logits.diagonal(low).fill_(float("-inf"))
            value += softmax_rows(logits, weight[here])
            torch.mm(logits, self.columns, out=row_gradient[here])
            column_gradient.addmm_(logits.T, rows)
        return value, column_gradient


def info_nce_fused(queries, positives, outer, chunk):
    n = len(queries)
    engine = Fused(queries, positives, outer, chunk)
    weight = torch.full((n, 1), 1 / n)
    scale = 1 / TEMPERATURE

    def run():
        value, for_queries, for_positives = engine.sweep(weight, own=False)
        of_positives = float((queries * positives).sum()) * scale
        for_queries.sub_(positives, alpha=1 / n).mul_(scale)
        for_positives.sub_(queries, alpha=1 / n).mul_(scale)
        return {"loss": (value - of_positives) / n, "queries": for_queries, "positives": for_positives}

    return run


def supervised_fused(rows, labels, outer, chunk):
    """The positives through sums over classes, so that no second matrix is needed."""
    engine = Fused(rows, rows, outer, chunk)
    scale = 1 / TEMPERATURE

    def class_sum(values):
        return torch.zeros(int(labels.max()) + 1, values.shape[1]).index_add_(0, labels, values)[labels] - values

    def run():
        positives = torch.bincount(labels)[labels, None] - 1.0
        weight = (positives > 0) / (positives > 0).sum()
        value, gradient, for_columns = engine.sweep(weight, own=True)
        gradient += for_columns
        each = weight / positives.clamp(min=1)
        sums = class_sum(rows)
        gradient.sub_(sums * each).sub_(class_sum(rows * each)).mul_(scale)
        of_positives = float((rows * sums * each).sum()) * scale
        counted = float((positives > 0).sum())
        return {"loss": value / counted - of_positives, "rows": gradient}

    return run


def grouped_fused(rows, labels, groups):
    """All groups at once, as a batch of small matrices."""
    count = int(groups.max()) + 1
    batch = rows.view(count, -1, rows.shape[1])
    members = labels.view(count, -1)
    alone = torch.eye(members.shape[1], dtype=torch.bool)

    def run():
        positive = (members[:, :, None] == members[:, None, :]) & ~alone
        positives = positive.sum(2, keepdim=True)
        weight = (positives > 0) / (positives > 0).sum()
        logits = torch.bmm(batch, batch.transpose(1, 2)).mul_(1 / TEMPERATURE)
        share = positive / positives.clamp(min=1)
        of_positives = (logits * share * weight).sum()
        logits.masked_fill_(alone, float("-inf"))
        total = logits.logsumexp(2, keepdim=True)
        loss = (total * weight).sum() - of_positives
        slope = logits.sub_(total).exp_().sub_(share).mul_(weight / TEMPERATURE)
        gradient = torch.bmm(slope, batch).baddbmm_(slope.transpose(1, 2), batch)
        return {"loss": loss.item(), "rows": gradient.view_as(rows)}

    return run


def prepare(case: Case) -> Contestant:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    naive = case.implementation == "torch-naive"
    shape = (case.parameters["n"], case.parameters["d"])
    rows = torch.from_numpy(case.numpy("rows")).view(shape)
    labels = torch.from_numpy(case.numpy("labels")).long()
    groups = torch.from_numpy(case.numpy("groups"))
    chunk = case.options.get("chunk", CHUNK)
    if case.parameters["kind"] == "info-nce":
        positives = torch.from_numpy(case.numpy("positives")).view(shape)
        run = info_nce_fused(rows, positives, case.outer, chunk)
        leaves, autograd = (rows, positives), lambda: info_nce_naive(rows, positives)
    else:
        grouped = case.parameters["groups"] > 1
        run = grouped_fused(rows, labels, groups) if grouped else supervised_fused(rows, labels, case.outer, chunk)
        leaves, autograd = (rows,), lambda: supervised_naive(rows, labels, groups)

    def differentiate():
        for leaf in leaves:
            leaf.requires_grad_(True).grad = None
        return autograd()

    last = {}

    def call():
        last.update(differentiate() if naive else run())

    def result():
        return {name: value if isinstance(value, float) else value.numpy() for name, value in last.items()}

    return Contestant(call, result)


serve(prepare)
