"""Item statistics in scipy and PyTorch: co-occurrence, Gram matrix, truncated SVD, inverse by Cholesky."""
import os

import numpy as np
from protocol import Case, Contestant, serve
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

RANK = 64
RIDGE = 100
COMPARED_ROWS = 64


def sparse(case: Case) -> csr_matrix:
    indptr, indices = case.numpy("indptr").astype(np.int32), case.numpy("indices").astype(np.int32)
    values = case.numpy("values") if "values" in case.inputs else np.ones(len(indices), np.float32)
    return csr_matrix((values, indices, indptr), shape=(len(indptr) - 1, case.parameters["items"]))


def cooccurrence(case: Case) -> Contestant:
    matrix, last = sparse(case), []

    def run():
        last[:] = [matrix.T @ matrix]

    def result():
        last[0].sort_indices()
        return {"indptr": last[0].indptr.astype(np.uint32), "values": last[0].data}

    return Contestant(run, result)


def gram(case: Case) -> Contestant:
    matrix, last = sparse(case), []

    def run():
        last[:] = [(matrix.T @ matrix).toarray()]

    return Contestant(run, lambda: {"rows": last[0][:COMPARED_ROWS].ravel()})


def truncated_svd(case: Case) -> Contestant:
    matrix, last = sparse(case), []
    solver, tolerance = case.options.get("solver", "arpack"), case.options.get("tolerance", 0)
    start = np.random.default_rng(1).standard_normal(min(matrix.shape)).astype(np.float32)

    def run():
        last[:] = svds(matrix, k=RANK, tol=tolerance, solver=solver, v0=start if solver == "arpack" else None)

    return Contestant(run, lambda: {"energy": float(np.square(matrix.T @ last[0], dtype=np.float64).sum())})


def regularised(case: Case):
    matrix = (sparse(case).T @ sparse(case)).toarray()
    matrix[np.diag_indices_from(matrix)] += RIDGE
    return np.asfortranarray(matrix)


def scipy_inverse(case: Case) -> Contestant:
    """potrf and potri, in place; the other triangle is filled in, as a user needs it."""
    from scipy.linalg import lapack

    matrix = regularised(case)
    work = np.empty_like(matrix)

    def run():
        np.copyto(work, matrix)
        lapack.spotrf(work, lower=1, overwrite_a=1, clean=0)
        lapack.spotri(work, lower=1, overwrite_c=1)
        mirror(work)

    return Contestant(run, lambda: {"rows": np.ascontiguousarray(work[:COMPARED_ROWS]).ravel()})


def mirror(matrix, block=512):
    """Copies the lower triangle over the upper one, by blocks that stay in the cache."""
    for low in range(0, len(matrix), block):
        here = slice(low, low + block)
        own = matrix[here, here]
        own[:] = np.tril(own) + np.tril(own, -1).T
        for other in range(low + block, len(matrix), block):
            there = slice(other, other + block)
            matrix[here, there] = matrix[there, here].T


def torch_inverse(case: Case) -> Contestant:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    matrix, last = torch.from_numpy(np.ascontiguousarray(regularised(case))), []

    def run():
        last[:] = [torch.cholesky_inverse(torch.linalg.cholesky(matrix))]

    return Contestant(run, lambda: {"rows": last[0][:COMPARED_ROWS].contiguous().numpy().ravel()})


def prepare(case: Case) -> Contestant:
    if case.implementation == "torch-lapack":
        return torch_inverse(case)
    works = {
        "co-occurrence": cooccurrence,
        "gram": gram,
        "truncated SVD": truncated_svd,
        "Cholesky inverse": scipy_inverse,
    }
    return works[case.parameters["work"]](case)


serve(prepare)
