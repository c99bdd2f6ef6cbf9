"""Greedy max coverage: two solvers in C++ (max_cover.cc), scipy's sparse matrices, and submodlib's lazy greedy."""
import array
import ctypes
import hashlib
import subprocess
from pathlib import Path

from protocol import Case, Contestant, serve

SOURCE = Path(__file__).with_name("max_cover.cc")
BUILT = Path(__file__).parent.parent / ".peers"


def library() -> ctypes.CDLL:
    """The C++ solvers, compiled for this machine where that has not been done yet."""
    processor = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "")
    digest = hashlib.sha256(SOURCE.read_bytes() + processor.encode()).hexdigest()[:12]
    path = BUILT / f"max_cover-{digest}.so"
    if not path.exists():
        BUILT.mkdir(exist_ok=True)
        command = ["g++", "-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", str(SOURCE), "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(path))


def cpp(case: Case, name: str) -> Contestant:
    solver = getattr(library(), name)
    solver.restype = ctypes.c_int64
    sets, elements, budget = (case.parameters[field] for field in ("sets", "elements", "budget"))
    indptr, indices = case.array("indptr"), case.array("indices")
    selected, value = array.array("I", bytes(4 * budget)), ctypes.c_int64()
    arrays = (indptr, indices, selected)
    picked = [0]

    def run():
        sizes = (ctypes.c_int64(number) for number in (sets, elements, budget))
        pointers = (ctypes.c_void_p(values.buffer_info()[0]) for values in arrays)
        picked[0] = solver(*sizes, *pointers, ctypes.byref(value))

    return Contestant(run, lambda: {"selected": selected[: picked[0]], "value": value.value})


def scipy_decrements(case: Case) -> Contestant:
    """Gains of all sets, taken down through the columns of the elements that a pick covers."""
    import numpy as np
    from scipy.sparse import csr_matrix

    budget = case.parameters["budget"]
    indptr, indices = case.numpy("indptr").astype(np.int32), case.numpy("indices").astype(np.int32)
    shape = (case.parameters["sets"], case.parameters["elements"])
    sets = csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
    last = {}

    def run():
        by_element = sets.tocsc()
        gains = np.diff(sets.indptr).astype(np.int64)
        covered = np.zeros(shape[1], bool)
        selected, value = [], 0
        for _ in range(budget):
            pick = int(gains.argmax())
            if gains[pick] <= 0:
                break
            selected.append(pick)
            value += int(gains[pick])
            fresh = sets.indices[sets.indptr[pick] : sets.indptr[pick + 1]]
            fresh = fresh[~covered[fresh]]
            covered[fresh] = True
            holders = [by_element.indices[by_element.indptr[e] : by_element.indptr[e + 1]] for e in fresh]
            gains -= np.bincount(np.concatenate(holders), minlength=shape[0])
        last.update(selected=np.array(selected, np.uint32), value=value)

    return Contestant(run, lambda: last)


def submodlib_lazy(case: Case) -> Contestant:
    """Compared by value: among equal gains it takes whichever set its hash table gives first."""
    from submodlib.functions.setCover import SetCoverFunction

    indptr, indices = case.array("indptr"), case.array("indices")
    cover = [set(indices[low:high]) for low, high in zip(indptr, indptr[1:])]
    function = SetCoverFunction(n=len(cover), cover_set=cover, num_concepts=case.parameters["elements"])
    last = {}

    def run():
        picks = function.maximize(budget=case.parameters["budget"], optimizer="LazyGreedy", show_progress=False)
        last["value"] = float(sum(gain for _, gain in picks))

    return Contestant(run, lambda: last)


def prepare(case: Case) -> Contestant:
    if case.implementation == "scipy":
        return scipy_decrements(case)
    if case.implementation == "submodlib":
        return submodlib_lazy(case)
    return cpp(case, {"cpp-celf": "cover_celf", "cpp-bucket": "cover_bucket"}[case.implementation])


serve(prepare)
