"""A contestant in Python: reads commands and answers them, one JSON object a line (see ../lib/protocol.ts).

A script calls `serve(prepare)`, where `prepare(case)` returns a `Contestant`. Libraries must not write to the protocol's
stream, so standard output is turned into standard error for everybody else.
"""
import array
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

TYPECODES = {"float32": "f", "float64": "d", "int32": "i", "uint32": "I"}


@dataclass
class Case:
    """What is to be computed: `implementation` by name, sizes, where the inputs are, and how to go about it."""

    implementation: str
    parameters: dict[str, Any]
    inputs: dict[str, dict[str, str]]
    outer: int
    options: dict[str, Any]

    def numpy(self, name: str):
        """An input as a flat numpy array in memory of its own."""
        import numpy as np

        stored = self.inputs[name]
        return np.fromfile(stored["file"], dtype=np.dtype(stored["dtype"]))

    def array(self, name: str) -> array.array:
        """An input without numpy."""
        stored = self.inputs[name]
        values = array.array(TYPECODES[stored["dtype"]])
        with open(stored["file"], "rb") as file:
            values.frombytes(file.read())
        return values


@dataclass
class Contestant:
    """One prepared case: `run` is what is timed, `result` gives the last run's arrays by name."""

    run: Callable[[], Any]
    result: Callable[[], dict[str, Any]]


def serve(prepare: Callable[[Case], Contestant]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "quit":
            break
        try:
            if command["command"] == "prepare":
                fields = ("parameters", "inputs", "outer", "options")
                answer = {"residentBefore": resident("VmRSS")}
                contestant = prepare(Case(sys.argv[1], *(command[field] for field in fields)))
            elif command["command"] == "run":
                answer = timed(contestant.run, command["calls"], command["before"])
            else:
                answer = {"arrays": store(Path(command["folder"]), contestant.result())}
        except Exception as error:  # told to the runner, which leaves this contestant out
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # without waiting for the libraries' threads


def timed(run: Callable[[], Any], calls: int, untimed: int) -> dict[str, Any]:
    reset_peak()
    before = resident("VmRSS")
    cpu = cpu_seconds()
    for _ in range(untimed):
        run()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    peak = resident("VmHWM")
    return {
        "seconds": seconds,
        "cpuSeconds": cpu_seconds() - cpu,
        "peakExtraBytes": peak - before,
        "peakRssBytes": peak,
    }


def store(folder: Path, arrays: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Writes numpy arrays, array.array or plain numbers (as one float64 each)."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for name, values in arrays.items():
        if isinstance(values, (int, float)):
            values = array.array("d", [values])
        if isinstance(values, array.array):
            dtype = next(d for d, code in TYPECODES.items() if code == values.typecode)
        else:
            dtype = str(values.dtype)
        file = folder / f"{name}.bin"
        with open(file, "wb") as out:
            out.write(values.tobytes())
        stored[name] = {"file": str(file), "dtype": dtype}
    return stored


def reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then the peak is that of the process's whole life


def resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    return 0


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def split(count: int, parts: int) -> list[slice]:
    """`count` rows in `parts` runs of almost equal length."""
    bounds = [count * part // parts for part in range(parts + 1)]
    return [slice(low, high) for low, high in zip(bounds, bounds[1:]) if low < high]
