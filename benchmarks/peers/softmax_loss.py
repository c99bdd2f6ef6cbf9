"""Cross-entropy of K interests per row against items (their log-sum-exp is the score) in PyTorch, loss and gradients.

torch-naive: all scores at once, differentiated by autograd. torch-fused: the analytic gradient over chunks of rows, in place.
With candidates, the items are those and each row's target; the gradient is then given for the rows that have one.
"""
import os
from concurrent.futures import ThreadPoolExecutor

import torch
from protocol import Case, Contestant, serve, split

CHUNK = 256


class Problem:
    """Tensors of a case; `interests` is [R, J, d], `candidates` is None for the full catalog."""

    def __init__(self, case: Case):
        sizes = case.parameters
        self.interests = torch.from_numpy(case.numpy("interests")).view(sizes["rows"], sizes["interests"], sizes["d"])
        self.items = torch.from_numpy(case.numpy("items")).view(sizes["items"], sizes["d"])
        self.bias = torch.from_numpy(case.numpy("bias"))
        self.targets = torch.from_numpy(case.numpy("targets").astype("int64"))
        self.candidates = None
        if sizes["candidates"] > 0:
            self.candidates = torch.from_numpy(case.numpy("candidates").astype("int64"))
            self.log_q = torch.from_numpy(case.numpy("logQ"))
            self.target_log_q = torch.from_numpy(case.numpy("targetLogQ"))


def full_naive(problem: Problem, interests, items, bias):
    rows, count, d = interests.shape
    scores = (interests.view(-1, d) @ items.T + bias).view(rows, count, -1).logsumexp(1)
    return torch.nn.functional.cross_entropy(scores, problem.targets)


def sampled_naive(problem: Problem, interests, items, bias):
    """An accidental hit, a candidate that is the row's target, is taken out."""
    rows, count, d = interests.shape
    candidates, targets = problem.candidates, problem.targets
    offsets = bias[candidates] - problem.log_q
    scores = (interests.view(-1, d) @ items[candidates].T + offsets).view(rows, count, -1).logsumexp(1)
    scores = scores.masked_fill(candidates == targets[:, None], float("-inf"))
    own = torch.einsum("rjd,rd->rj", interests, items[targets]).logsumexp(1) + bias[targets] - problem.target_log_q
    return (torch.cat([own[:, None], scores], 1).logsumexp(1) - own).mean()


def naive(problem: Problem):
    loss_of = full_naive if problem.candidates is None else sampled_naive

    def run():
        # The whole table is a leaf; with candidates only the rows in use are, as sparse training does it.
        if problem.candidates is None:
            leaves = [problem.interests, problem.items, problem.bias]
            local = problem
        else:
            local = gathered(problem)
            leaves = [problem.interests, local.items, local.bias]
        for leaf in leaves:
            leaf.requires_grad_(True).grad = None
        loss = loss_of(local, *leaves)
        loss.backward()
        names = ("interests", "items", "bias")
        return {"loss": loss.item(), **{name: leaf.grad for name, leaf in zip(names, leaves)}}

    return run


class Local:
    """A problem over the rows of the table that a step touches."""


def gathered(problem: Problem):
    ids, places = torch.unique(torch.cat([problem.candidates, problem.targets]), return_inverse=True)
    local = Local()
    local.items, local.bias = problem.items[ids], problem.bias[ids]
    local.candidates, local.targets = places[: len(problem.candidates)], places[len(problem.candidates) :]
    local.log_q, local.target_log_q = problem.log_q, problem.target_log_q
    return local


class Fused:
    """softmax over interests and items together is what flows back: a product there and two back for each chunk."""

    def __init__(self, problem: Problem, outer: int, chunk: int):
        self.problem, self.chunk = problem, chunk
        rows, count, _ = problem.interests.shape
        self.parts = split(rows, outer)
        columns = len(problem.items) if problem.candidates is None else len(problem.candidates)
        self.buffers = [torch.empty(min(chunk, rows) * count, columns) for _ in self.parts]
        self.pool = ThreadPoolExecutor(len(self.parts))

    def __call__(self):
        problem = self.problem
        sampled = problem.candidates is not None
        if sampled:
            problem = gathered(problem)
        columns = problem.items[problem.candidates] if sampled else problem.items
        offsets = problem.bias[problem.candidates] - problem.log_q if sampled else problem.bias
        gradient = torch.empty_like(self.problem.interests)
        work = zip(self.parts, self.buffers)
        done = list(self.pool.map(lambda one: self._part(problem, columns, offsets, gradient, *one), work))
        loss = sum(part[0] for part in done) / len(gradient)
        _, for_columns, for_offsets, *_ = done[0]
        for other in done[1:]:
            for_columns += other[1]
            for_offsets += other[2]
        if not sampled:
            items, bias = for_columns, for_offsets
        else:
            items = torch.zeros_like(problem.items).index_add_(0, problem.candidates, for_columns)
            bias = torch.zeros_like(problem.bias).index_add_(0, problem.candidates, for_offsets)
        for _, _, _, targets, per_item, per_bias in done:
            items.index_add_(0, targets, per_item)
            bias.index_add_(0, targets, per_bias)
        return {"loss": loss, "interests": gradient, "items": items, "bias": bias}

    def _part(self, problem, columns, offsets, gradient, part, buffer):
        interests = self.problem.interests
        total_rows, count, d = interests.shape
        sampled = self.problem.candidates is not None
        for_columns, for_offsets = torch.zeros_like(columns), torch.zeros_like(offsets)
        per_item, per_bias, value = [], [], 0.0
        for low in range(part.start, part.stop, self.chunk):
            here = slice(low, min(low + self.chunk, part.stop))
            rows, targets = interests[here], problem.targets[here]
            flat = rows.reshape(-1, d)
            z = buffer[: len(flat)]
            torch.addmm(offsets, flat, columns.T, out=z)
            z = z.view(len(rows), -1)
            target_rows = problem.items[targets]
            own = torch.einsum("rjd,rd->rj", rows, target_rows) + problem.bias[targets, None]
            if sampled:
                own -= problem.target_log_q[here, None]
                hits = (problem.candidates == targets[:, None]).repeat(1, count)
                z.masked_fill_(hits, float("-inf"))
            own_total = own.logsumexp(1, keepdim=True)
            largest = torch.maximum(z.amax(1, keepdim=True), own_total)
            total = z.sub_(largest).exp_().sum(1, keepdim=True)
            if sampled:
                total += (own_total - largest).exp()
            log_total = largest + total.log()
            value += float((log_total - own_total).sum())
            z.mul_(1 / (total * total_rows))
            z = z.view(len(flat), -1)
            torch.mm(z, columns, out=gradient[here].view(-1, d))
            for_columns.addmm_(z.T, flat)
            for_offsets += z.sum(0)
            pull = (own - own_total).exp() * (-1 / total_rows)
            if sampled:
                pull *= 1 - (own_total - log_total).exp()
            gradient[here] += pull[:, :, None] * target_rows[:, None, :]
            per_item.append(torch.einsum("rj,rjd->rd", pull, rows))
            per_bias.append(pull.sum(1))
        return value, for_columns, for_offsets, problem.targets[part], torch.cat(per_item), torch.cat(per_bias)


def prepare(case: Case) -> Contestant:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    problem = Problem(case)
    fused = case.implementation == "torch-fused"
    run = Fused(problem, case.outer, case.options.get("chunk", CHUNK)) if fused else naive(problem)
    last = {}

    def result():
        return {name: value if isinstance(value, float) else value.numpy() for name, value in last.items()}

    return Contestant(lambda: last.update(run()), result)


serve(prepare)
