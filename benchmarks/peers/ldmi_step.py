"""A training step of ldmi's mixture of interests in PyTorch, batched as far as it can be.

A causal pre-LayerNorm transformer over histories packed newest first; up to P positions of each predict their next G
items under one softmax over the catalog, log-sum-exp over K self-attentive interests and one interest per semantic
cluster, each with a learned prior; what a position has seen is masked; AdamW. Batches are of similar length, as ours
are, and packed beforehand, so that the loader costs nothing.

torch: the logits of every position at once, differentiated by autograd. torch-fused: the softmax's analytic gradient over
chunks of positions, in place.
"""
import math
import os

import numpy as np
import torch
from protocol import Case, Contestant, serve
from torch import nn
from torch.nn import functional

ITEM_SCALE = 0.1
LENGTH_JITTER = 4
ABSENT = -1e30
CHUNK = 32


class Sequences:
    """Items (from 0) and clusters of every sequence, oldest first."""

    def __init__(self, indptr, items, clusters):
        self.indptr = indptr.astype(np.int64)
        self.items, self.clusters = items.astype(np.int64) - 1, clusters.astype(np.int64)
        self.lengths = np.diff(self.indptr)


class Batch:
    """Sequences packed newest first, each cut at its end, and some of their positions with what follows and what was seen."""

    def __init__(self, case: Case, sequences: Sequences, rows, ends, choose):
        """`choose` says from the mask [B, T] of events which positions predict: a mask [B, T]."""
        horizon, catalog = case.parameters["targets"], case.parameters["items"]
        own = np.minimum(ends, case.parameters["length"])
        ages = np.arange(own.max())
        past = (sequences.indptr[rows] + ends)[:, None]
        held = ages < own[:, None]
        at = np.where(held, past - 1 - ages, 0)
        items = np.where(held, sequences.items[at], catalog)
        clusters = np.where(held, sequences.clusters[at], -1)
        owner, position = np.nonzero(choose(held))
        following = past[owner] - position[:, None] + np.arange(horizon)
        there = following < sequences.indptr[rows + 1][owner, None]
        visible = held[owner] & (ages >= position[:, None])
        row, column = np.nonzero(visible)
        self.items, self.owner, self.position = (torch.from_numpy(array) for array in (items, owner, position))
        self.targets = torch.from_numpy(np.where(there, sequences.items[np.where(there, following, 0)], 0))
        self.weights = torch.from_numpy((there / np.maximum(there.sum(1, keepdims=True), 1)).astype(np.float32))
        self.seen = torch.from_numpy(np.stack([row, items[owner[row], column]]))
        older = ages[None] >= ages[:, None]
        self.attends = torch.from_numpy(((older & held[:, None]) | np.eye(len(ages), dtype=bool))[:, None])
        count = clusters.max() + 1
        self.members = torch.from_numpy((clusters[owner, None] == np.arange(count)[:, None]) & visible[:, None])
        self.visible = torch.from_numpy(visible)[:, None].expand(-1, case.parameters["interests"], -1)
        sizes = self.members.sum(2)
        self.present = sizes > 0
        self.log_sizes = sizes.clamp(min=1).float().log()
        self.holds_last = torch.from_numpy((clusters[owner, position][:, None] == np.arange(count)).astype(np.float32))


class Block(nn.Module):
    def __init__(self, d, heads, rate):
        super().__init__()
        self.heads, self.rate = heads, rate
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.project, self.merge = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.widen, self.narrow = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def drop(self, x):
        return functional.dropout(x, self.rate, self.training)

    def forward(self, x, attends):
        size, length, d = x.shape
        split = self.project(self.norm1(x)).view(size, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        attended = functional.scaled_dot_product_attention(*split, attn_mask=attends, dropout_p=rate)
        x = x + self.drop(self.merge(attended.transpose(1, 2).reshape(size, length, d)))
        return x + self.drop(self.narrow(self.drop(functional.gelu(self.widen(self.norm2(x))))))


class Model(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        parameters = case.parameters
        d, interests, catalog = parameters["d"], parameters["interests"], parameters["items"]
        self.rate = parameters["dropout"]
        self.chunk = case.options.get("chunk", CHUNK) if case.implementation == "torch-fused" else 0
        self.table = nn.Parameter(torch.randn(catalog, d) * ITEM_SCALE)
        self.item_bias = nn.Parameter(torch.zeros(catalog))
        self.recency = nn.Parameter(torch.randn(parameters["length"], d) * 0.02)
        self.norm_in, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        self.blocks = nn.ModuleList(Block(d, parameters["heads"], self.rate) for _ in range(parameters["layers"]))
        self.pool_hidden, self.pool_logits = nn.Linear(d, 4 * d), nn.Linear(4 * d, interests)
        self.cluster_hidden, self.cluster_logits = nn.Linear(d, 4 * d), nn.Linear(4 * d, 1)
        self.context, self.collaborative = nn.Linear(d, d), nn.Linear(d, interests)
        self.semantic, self.prior = nn.Linear(d, 1), nn.Parameter(torch.ones(2))

    def forward(self, batch: Batch):
        events = functional.embedding(batch.items, functional.pad(self.table, (0, 0, 0, 1)))
        x = functional.dropout(self.norm_in(events + self.recency[: events.shape[1]]), self.rate, self.training)
        for block in self.blocks:
            x = block(x, batch.attends)
        x = self.norm_out(x)
        pooling = self.pool_logits(torch.tanh(self.pool_hidden(x))).transpose(1, 2)[batch.owner]
        shared = self.cluster_logits(torch.tanh(self.cluster_hidden(x))).transpose(1, 2)[batch.owner]
        logits = torch.cat([pooling, shared.expand(-1, batch.members.shape[1], -1)], 1)
        reads = torch.cat([batch.visible, batch.members], 1)
        attention = logits.masked_fill(~reads, ABSENT).softmax(2)
        pooled = attention @ x[batch.owner]
        last = x[batch.owner, batch.position]
        interests = pooling.shape[1]
        semantic = self.prior[0] * batch.log_sizes + self.prior[1] * batch.holds_last
        semantic = (semantic + self.semantic(pooled[:, interests:]).squeeze(2)).masked_fill(~batch.present, ABSENT)
        prior = torch.cat([self.collaborative(last), semantic], 1).log_softmax(1)
        return pooled + self.context(last)[:, None], prior

    def scores(self, interests, prior, batch: Batch):
        """Of every item, for each position; -inf where it has been seen."""
        logits = functional.linear(interests, self.table, self.item_bias)
        return torch.logsumexp(logits + prior[..., None], 1).index_put(tuple(batch.seen), torch.tensor(-math.inf))

    def loss(self, batch: Batch):
        interests, prior = self(batch)
        if self.chunk > 0:
            return FusedSoftmax.apply(interests, prior, self.table, self.item_bias, batch, self.chunk)
        scores = self.scores(interests, prior, batch)
        gap = scores.logsumexp(1, keepdim=True) - scores.gather(1, batch.targets)
        return torch.where(batch.weights > 0, gap * batch.weights, 0).sum() / len(scores)


class FusedSoftmax(torch.autograd.Function):
    """Loss and gradients together: what flows back is the softmax over interests and items at once, less the targets'."""

    @staticmethod
    def forward(ctx, interests, prior, table, bias, batch: Batch, chunk):
        count, j, d = interests.shape
        gradient, for_prior = torch.empty_like(interests), torch.empty_like(prior)
        for_table, for_bias, loss = torch.zeros_like(table), torch.zeros_like(bias), 0.0
        buffer = torch.empty(min(chunk, count) * j, len(table))
        for low in range(0, count, chunk):
            here = slice(low, min(low + chunk, count))
            rows, targets, weights = interests[here], batch.targets[here], batch.weights[here] / count
            flat = rows.reshape(-1, d)
            z = buffer[: len(flat)]
            torch.addmm(bias, flat, table.T, out=z)
            z += prior[here].reshape(-1, 1)
            first, past = torch.searchsorted(batch.seen[0].contiguous(), torch.tensor([low, here.stop]))
            z.view(len(rows), j, -1)[batch.seen[0, first:past] - low, :, batch.seen[1, first:past]] = -math.inf
            z = z.view(len(rows), -1)
            largest = z.amax(1, keepdim=True)
            total = z.sub_(largest).exp_().sum(1, keepdim=True)
            target_rows = table[targets]
            own = torch.einsum("rjd,rgd->rjg", rows, target_rows) + bias[targets][:, None] + prior[here, :, None]
            own_total = own.logsumexp(1, keepdim=True)
            loss += (weights * (largest + total.log() - own_total[:, 0])).sum()
            z.mul_(weights.sum(1, keepdim=True) / total)
            z = z.view(len(flat), -1)
            pull = (own - own_total).exp() * -weights[:, None]
            gradient[here] = (z @ table).view(rows.shape) + pull @ target_rows
            for_prior[here] = z.sum(1).view(len(rows), j) + pull.sum(2)
            for_table.addmm_(z.T, flat).index_add_(0, targets.reshape(-1), (pull.transpose(1, 2) @ rows).view(-1, d))
            for_bias.add_(z.sum(0)).index_add_(0, targets.reshape(-1), pull.sum(1).reshape(-1))
        ctx.save_for_backward(gradient, for_prior, for_table, for_bias)
        return loss

    @staticmethod
    def backward(ctx, upstream):
        return *(upstream * one for one in ctx.saved_tensors), None, None


def packed(case: Case, sequences: Sequences, rng):
    """Every batch of one epoch, sequences of similar packed length together."""
    size, most, positions = (case.parameters[name] for name in ("batch", "length", "positions"))
    totals = sequences.lengths
    ends = np.where(totals > most + 1, rng.integers(2, np.maximum(totals, 3)), totals - 1)
    order = np.argsort(np.minimum(ends, most) + rng.random(len(ends)) * LENGTH_JITTER)
    steps = [order[first : first + size] for first in range(0, len(order), size)]
    rng.shuffle(steps)

    def some(held):
        """Up to P random events of each sequence."""
        keys = np.where(held, rng.random(held.shape), 2)
        return held & (keys.argsort(1).argsort(1) < positions)

    return [Batch(case, sequences, rows, ends[rows], some) for rows in steps]


class Trainer:
    def __init__(self, model: Model):
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0, fused=True)

    def step(self, batch: Batch, positions: float) -> float:
        """`positions` that a batch of the epoch has on average: a position weighs the same in every batch, as it does in ours."""
        self.optimizer.zero_grad()
        loss = self.model.loss(batch) * (len(batch.owner) / positions)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5)
        self.optimizer.step()
        return loss.item()


def mean_positions(batches) -> float:
    return sum(len(batch.owner) for batch in batches) / len(batches)


def prepare(case: Case) -> Contestant:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(1)
    sequences = Sequences(*(case.numpy(name) for name in ("indptr", "items", "clusters")))
    batches, trainer, losses = packed(case, sequences, np.random.default_rng(1)), Trainer(Model(case)), []
    positions = mean_positions(batches)

    def run():
        losses.append(trainer.step(batches[len(losses) % len(batches)], positions))

    def result():
        while len(losses) < len(batches):
            run()
        return {"losses": np.array(losses)}

    return Contestant(run, result)


if __name__ == "__main__":
    serve(prepare)
