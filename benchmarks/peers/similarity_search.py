"""Exact top-k inner product: faiss' flat index, PyTorch's product and topk, numpy's product and argpartition, usearch.

A mixture's density (log-sum-exp over a user's interests), with or without additive scores, is numpy's alone: in full.

Threads around the library take a share of the queries each, or of the items where there is one query.
"""
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from protocol import Case, Contestant, serve, split

THREADS = int(os.environ["OMP_NUM_THREADS"])
BLOCK = 64_000_000


def faiss_search(items, _options):
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return index.search


def torch_search(items, options):
    import torch

    torch.set_num_threads(THREADS)
    transposed = torch.from_numpy(items).T
    block = int(options.get("block", BLOCK))

    def search(queries, k):
        rows = max(1, block // items.shape[0])
        parts = [torch.topk(part @ transposed, k) for part in torch.from_numpy(queries).split(rows)]
        return torch.cat([part.values for part in parts]).numpy(), torch.cat([part.indices for part in parts]).numpy()

    return search


def numpy_search(items, _options):
    def search(queries, k):
        rows = max(1, BLOCK // items.shape[0])
        parts = [best(queries[low : low + rows] @ items.T, k) for low in range(0, len(queries), rows)]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([ids for _, ids in parts])

    return search


def best(scores, k):
    """The k largest of each row, descending, and where they stand."""
    ids = np.argpartition(scores, -k, axis=1)[:, -k:]
    scores = np.take_along_axis(scores, ids, 1)
    order = np.argsort(-scores, axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def usearch_search(items, _options):
    from usearch.index import MetricKind, search as exact_search

    def search(queries, k):
        found = exact_search(items, queries, k, MetricKind.IP, exact=True, threads=THREADS)
        shape = (len(queries), k)
        return 1 - found.distances.reshape(shape), found.keys.reshape(shape)

    return search


SEARCHES = {"faiss": faiss_search, "torch": torch_search, "numpy": numpy_search, "usearch": usearch_search}


def split_queries(search, outer):
    """Each worker answers a share of the queries."""
    pool = ThreadPoolExecutor(outer)

    def whole(queries, k):
        parts = list(pool.map(lambda part: search(queries[part], k), split(len(queries), outer)))
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([ids for _, ids in parts])

    return whole


def split_items(make, items, options, outer):
    """Each worker searches a share of the items; the lists are merged."""
    parts = split(len(items), outer)
    searches = [(part.start, make(items[part], options)) for part in parts]
    pool = ThreadPoolExecutor(outer)

    def whole(queries, k):
        lists = list(pool.map(lambda one: (one[0], one[1](queries, k)), searches))
        scores = np.concatenate([found[0] for _, found in lists], axis=1)
        ids = np.concatenate([found[1] + start for start, found in lists], axis=1)
        order = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    return whole


def merged(search, interests, k):
    """A list for each interest, then the best k different items of each user."""

    def whole(queries, _k):
        scores, ids = (found.reshape(len(queries) // interests, interests * k) for found in search(queries, k))
        order = np.argsort(-scores, axis=1, kind="stable")
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
        out_scores, out_ids = np.empty((len(ids), k), np.float32), np.empty((len(ids), k), np.int64)
        for user, row in enumerate(ids):
            first = np.sort(np.unique(row, return_index=True)[1])[:k]
            out_scores[user], out_ids[user] = scores[user, first], row[first]
        return out_scores, out_ids

    return whole


def torch_interests(items, interests, options):
    """The best interest's score of every item, then topk."""
    import torch

    torch.set_num_threads(THREADS)
    transposed = torch.from_numpy(items).T
    block = int(options.get("block", BLOCK))

    def search(queries, k):
        rows = max(1, block // (items.shape[0] * interests)) * interests
        parts = [
            torch.topk((part @ transposed).view(-1, interests, items.shape[0]).amax(1), k)
            for part in torch.from_numpy(queries).split(rows)
        ]
        return torch.cat([part.values for part in parts]).numpy(), torch.cat([part.indices for part in parts]).numpy()

    return search


def additive_of(case, users, count):
    """What adds a share of the additive scores to the scores of a share of the users and items."""
    added = case.parameters.get("added", "nothing")
    if added == "dense":
        dense = case.numpy("additive").reshape(users, count)

        def add(scores, some, part):
            scores += dense[some, part]

        return add
    if added == "nothing":
        return lambda scores, some, part: None
    indptr, cols, values = (case.numpy(name) for name in ("additiveIndptr", "additiveIndices", "additive"))
    rows = np.repeat(np.arange(users), np.diff(indptr.astype(np.int64)))

    def add_entries(scores, some, part):
        own = slice(indptr[some.start], indptr[some.stop])
        inside = (cols[own] >= part.start) & (cols[own] < part.stop)
        scores[rows[own][inside] - some.start, cols[own][inside] - part.start] += values[own][inside]

    return add_entries


def mixture(case, items, queries, interests):
    """All scores, what is added to them, and the best; workers take a share of the users each, or of one user's items."""
    users = len(queries) // interests
    add = additive_of(case, users, len(items))
    pool = ThreadPoolExecutor(case.outer)

    def lists(some, part, k):
        rows = max(1, BLOCK // (interests * (part.stop - part.start)))
        found = []
        for low in range(some.start, some.stop, rows):
            block = slice(low, min(some.stop, low + rows))
            products = queries[block.start * interests : block.stop * interests] @ items[part].T
            products = products.reshape(-1, interests, part.stop - part.start)
            top = products.max(1)
            products -= top[:, None]
            np.exp(products, out=products)
            scores = top + np.log(products.sum(1))
            add(scores, block, part)
            scores, ids = best(scores, k)
            found.append((scores, ids + part.start))
        return tuple(np.concatenate(arrays) for arrays in zip(*found))

    def search(_queries, k):
        if users > 1:
            parts = list(pool.map(lambda some: lists(some, slice(0, len(items)), k), split(users, case.outer)))
            return tuple(np.concatenate(arrays) for arrays in zip(*parts))
        parts = list(pool.map(lambda part: lists(slice(0, 1), part, k), split(len(items), case.outer)))
        scores, ids = (np.concatenate(arrays, axis=1) for arrays in zip(*parts))
        order = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    return search


def prepare(case: Case) -> Contestant:
    count, d, k, interests = (case.parameters[name] for name in ("items", "d", "k", "interests"))
    items = case.numpy("items").reshape(count, d)
    queries = case.numpy("queries").reshape(-1, d)[: case.parameters["queries"] * interests].copy()
    make = SEARCHES[case.implementation]
    if case.parameters.get("readout") == "log-sum-exp":
        search = mixture(case, items, queries, interests)
    elif interests > 1 and case.implementation == "torch":
        search = torch_interests(items, interests, case.options)
    elif len(queries) == 1 and case.outer > 1:
        search = split_items(make, items, case.options, case.outer)
    else:
        search = make(items, case.options)
        if case.outer > 1:
            search = split_queries(search, case.outer)
        if interests > 1:
            search = merged(search, interests, k)
    last = []

    def run():
        last[:] = search(queries, k)

    def result():
        scores, ids = last
        return {"scores": np.ascontiguousarray(scores, np.float32), "ids": np.ascontiguousarray(ids).astype(np.uint32)}

    return Contestant(run, result)


serve(prepare)
