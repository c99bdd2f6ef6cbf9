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


class Batch:
    def __init__(self, case: Case, rows, rng):
        """`rows` are pairs of a sequence's items (from 0) and clusters, oldest first, and where it is cut."""
        p, horizon = case.parameters["positions"], case.parameters["targets"]
        most, catalog = case.parameters["length"], case.parameters["items"]
        length = max(min(end, most) for _, _, end in rows)
        self.items = np.full((len(rows), length), catalog, np.int64)
        clusters = np.full((len(rows), length), -1, np.int64)
        owner, position, targets, weights, seen = [], [], [], [], []
        for b, (items, labels, end) in enumerate(rows):
            own = min(end, most)
            self.items[b, :own] = items[end - own : end][::-1]
            clusters[b, :own] = labels[end - own : end][::-1]
            for t in rng.permutation(own)[:p]:
                following = items[end - t : end - t + horizon]
                row = len(owner)
                owner.append(b)
                position.append(t)
                targets.append(np.pad(following, (0, horizon - len(following))))
                weights.append(np.pad(np.full(len(following), 1 / len(following), np.float32), (0, horizon - len(following))))
                seen += [(row, item) for item in self.items[b, t:own]]
        self.items = torch.from_numpy(self.items)
        self.owner, self.position = torch.tensor(owner), torch.tensor(np.array(position))
        self.targets, self.weights = torch.tensor(np.array(targets)), torch.tensor(np.array(weights))
        self.seen = torch.tensor(seen).T
        ages = torch.arange(length)
        events = self.items < catalog
        older = ages[None, :] >= ages[:, None]
        self.attends = ((older[None] & events[:, None]) | torch.eye(length, dtype=torch.bool))[:, None]
        count = clusters.max() + 1
        visible = events[self.owner] & (ages[None] >= self.position[:, None])
        member = torch.from_numpy(clusters)[self.owner, None] == torch.arange(count)[None, :, None]
        self.members = member & visible[:, None]
        self.visible = visible[:, None].expand(-1, case.parameters["interests"], -1)
        sizes = self.members.sum(2)
        self.present = sizes > 0
        self.log_sizes = sizes.clamp(min=1).float().log()
        newest = torch.from_numpy(clusters)[self.owner, self.position]
        self.holds_last = (newest[:, None] == torch.arange(count)).float()


class Block(nn.Module):
    def __init__(self, d, heads, rate):
        super().__init__()
        self.heads, self.rate = heads, rate
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.project, self.merge = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.widen, self.narrow = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def drop(self, x):
        return functional.dropout(x, self.rate)

    def forward(self, x, attends):
        size, length, d = x.shape
        split = self.project(self.norm1(x)).view(size, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*split, attn_mask=attends, dropout_p=self.rate)
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
        x = functional.dropout(self.norm_in(events + self.recency[: events.shape[1]]), self.rate)
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

    def loss(self, batch: Batch):
        interests, prior = self(batch)
        if self.chunk > 0:
            return FusedSoftmax.apply(interests, prior, self.table, self.item_bias, batch, self.chunk)
        logits = functional.linear(interests, self.table, self.item_bias)
        scores = torch.logsumexp(logits + prior[..., None], 1).index_put(tuple(batch.seen), torch.tensor(-math.inf))
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


def packed(case: Case):
    """Every batch of one epoch, sequences of similar packed length together."""
    indptr, items = case.numpy("indptr").astype(np.int64), case.numpy("items").astype(np.int64) - 1
    clusters, rng = case.numpy("clusters").astype(np.int64), np.random.default_rng(1)
    size, most = case.parameters["batch"], case.parameters["length"]
    totals = np.diff(indptr)
    ends = np.array([rng.integers(2, n) if n > most + 1 else n - 1 for n in totals])
    order = np.argsort(np.minimum(ends, most) + rng.random(len(ends)) * LENGTH_JITTER)
    row = lambda user: (items[indptr[user] : indptr[user + 1]], clusters[indptr[user] : indptr[user + 1]], ends[user])
    steps = [[row(user) for user in order[first : first + size]] for first in range(0, len(order), size)]
    rng.shuffle(steps)
    return [Batch(case, rows, rng) for rows in steps]


def prepare(case: Case) -> Contestant:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(1)
    batches, model, losses = packed(case), Model(case), []
    positions = sum(len(batch.owner) for batch in batches) / len(batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0, fused=True)

    def run():
        optimizer.zero_grad()
        batch = batches[len(losses) % len(batches)]
        # A position weighs the same in every batch, as it does in ours.
        loss = model.loss(batch) * (len(batch.owner) / positions)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimizer.step()
        losses.append(loss.item())

    def result():
        while len(losses) < len(batches):
            run()
        return {"losses": np.array(losses)}

    return Contestant(run, result)


serve(prepare)
