"""Rows of an embedding table in PyTorch and numpy: gather, scatter-add, and a step of SparseAdam."""
import os

import numpy as np
from protocol import Case, Contestant, serve

LEARNING_RATE = 1e-3


def after_first(run, read) -> Contestant:
    """Compared is the state after the first call: later ones would add up rounding."""
    first = {}

    def call():
        run()
        if not first:
            first["out"] = read()

    return Contestant(call, lambda: first)


def with_numpy(work, table, ids, gradients) -> Contestant:
    if work == "gather":
        out = np.empty_like(gradients)
        return Contestant(lambda: np.take(table, ids, axis=0, out=out, mode="clip"), lambda: {"out": out})
    return after_first(lambda: np.add.at(table, ids, gradients), lambda: table[ids])


def with_torch(work, table, ids, gradients) -> Contestant:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rows, ids, gradients = torch.from_numpy(table), torch.from_numpy(ids), torch.from_numpy(gradients)
    if work == "gather":
        out = torch.empty_like(gradients)
        return Contestant(lambda: torch.index_select(rows, 0, ids, out=out), lambda: {"out": out.numpy()})
    if work == "scatter-add":
        return after_first(lambda: rows.index_add_(0, ids, gradients), lambda: table[ids.numpy()])
    parameter = torch.nn.Parameter(rows)
    optimizer = torch.optim.SparseAdam([parameter], lr=LEARNING_RATE)

    def step():
        parameter.grad = torch.sparse_coo_tensor(ids[None], gradients, rows.shape)
        optimizer.step()

    return after_first(step, lambda: table[ids.numpy()])


def prepare(case: Case) -> Contestant:
    shape = (-1, case.parameters["d"])
    table, gradients = case.numpy("table").reshape(shape), case.numpy("gradients").reshape(shape)
    ids = case.numpy("ids").astype(np.int64)
    make = with_numpy if case.implementation == "numpy" else with_torch
    return make(case.parameters["work"], table, ids, gradients)


serve(prepare)
