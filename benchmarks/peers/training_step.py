"""A training step of ComiRec-DR (Cen et al. 2020) in PyTorch, as small as it can be written.

torch-sparse: sparse embedding gradients and SparseAdam, the strongest form. torch-dense: Adam over the whole table.
Batches are packed beforehand, newest event first, so that the loader costs nothing.
"""
import math
import os

import numpy as np
import torch
from protocol import Case, Contestant, serve

ROUNDS = 3
NEGATIVES_PER_USER = 10
LEARNING_RATE = 1e-3
ITEM_SCALE = 0.1


def packed(case: Case):
    """Every batch as (history ids [B, T], 0 where padded; mask [B, T]; target ids [B])."""
    indptr, items = case.numpy("indptr").astype(np.int64), case.numpy("items").astype(np.int64)
    size, length = case.parameters["batch"], case.parameters["length"]
    batches = []
    for first in range(0, len(indptr) - 1, size):
        ids, targets = np.zeros((size, length), np.int64), np.zeros(size, np.int64)
        for row in range(size):
            events = items[indptr[first + row] : indptr[first + row + 1]]
            targets[row] = events[-1]
            history = events[-2::-1][:length]
            ids[row, : len(history)] = history
        batches.append((torch.from_numpy(ids), torch.from_numpy(ids > 0).float(), torch.from_numpy(targets)))
    return batches


class Model:
    def __init__(self, case: Case):
        d, self.count = case.parameters["d"], case.parameters["interests"]
        self.items = case.parameters["items"]
        sparse = case.implementation == "torch-sparse"
        self.table = torch.nn.Embedding(self.items + 1, d, padding_idx=0, sparse=sparse)
        torch.nn.init.normal_(self.table.weight, std=ITEM_SCALE)
        self.maps = torch.nn.Parameter(torch.randn(case.parameters["length"], d, self.count * d) / math.sqrt(d))
        if sparse:
            rows = torch.optim.SparseAdam([self.table.weight], lr=LEARNING_RATE)
            self.optimizers = [rows, torch.optim.Adam([self.maps], lr=LEARNING_RATE)]
        else:
            self.optimizers = [torch.optim.Adam([self.table.weight, self.maps], lr=LEARNING_RATE)]

    def interests(self, ids, mask):
        """Dynamic routing: gradients flow through the last round only."""
        events = self.table(ids).transpose(0, 1)
        said = torch.bmm(events, self.maps).view(*events.shape[:2], self.count, -1).permute(1, 2, 0, 3)
        fixed, logits = said.detach(), torch.zeros(said.shape[:3])
        for _ in range(ROUNDS - 1):
            share = logits.softmax(1) * mask[:, None]
            capsule = squash((share[:, :, None] @ fixed).squeeze(2))
            logits = logits + (fixed @ capsule[..., None]).squeeze(3)
        share = logits.softmax(1) * mask[:, None]
        return squash((share[:, :, None] @ said).squeeze(2))

    def log_q(self, ids, draws):
        """Log of the expected count of dense ids (from 1) among log-uniform draws."""
        rank = ids.float()
        return ((1 + 1 / rank).log() * (draws / math.log(self.items + 1))).log()

    def loss(self, ids, mask, targets):
        capsules, wanted = self.interests(ids, mask), self.table(targets)
        best = (capsules * wanted[:, None]).sum(2).argmax(1)
        user = capsules[torch.arange(len(ids)), best]
        draws = NEGATIVES_PER_USER * len(ids)
        negatives = (torch.rand(draws) * math.log(self.items + 1)).exp().long().clamp(1, self.items)
        scores = user @ self.table(negatives).T - self.log_q(negatives, draws)
        scores = scores.masked_fill(negatives == targets[:, None], float("-inf"))
        own = (user * wanted).sum(1, keepdim=True) - self.log_q(targets, draws)[:, None]
        logits = torch.cat([own, scores], 1)
        return torch.nn.functional.cross_entropy(logits, torch.zeros(len(ids), dtype=torch.long))

    def step(self, batch):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.loss(*batch)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.item()


def squash(sums):
    squared = (sums * sums).sum(-1, keepdim=True)
    return sums * (torch.sqrt(squared + 1e-9) / (1 + squared))


def prepare(case: Case) -> Contestant:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(1)
    batches, model, losses = packed(case), Model(case), []

    def run():
        losses.append(model.step(batches[len(losses) % len(batches)]))

    return Contestant(run, lambda: {"losses": np.array(losses)})


serve(prepare)
