"""New vectors against stored ones that lie on the disk: what memory cannot hold, faiss keeps in a file.

Run as `python -m tests.benchmarks.bench_on_disk [FOLDER] [--size 1000000]` by an interpreter that has faiss. FOLDER is
that of `bench_merge`, whose vectors are used. The index is `IVF,SQfp16` with inverted lists in a mapped file. A
thousand rows, put aside first, are searched for all stored ones at a cosine above 0.92, once after the file has left
the page cache, once again; what is found is held against brute force.
"""

import argparse
import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.bench_merge import NEW_ROWS, NOISE, THRESHOLD, _units, _vectors
from tests.benchmarks.sections import write_section

DEFAULT_SIZE = 1_000_000
BLOCK = 50_000
SAMPLE = 200_000
NPROBES = (4, 16, 64)


def main() -> None:
    """Build the index, search, print the figures as JSON, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("artifacts/bench"))
    parser.add_argument("--size", type=int, default=DEFAULT_SIZE, help="stored vectors (%(default)s)")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    vectors = np.load(_vectors(given.folder, size=given.size, kind=next(iter(NOISE))), mmap_mode="r")
    stored, new = vectors[:-NEW_ROWS], _units(vectors[-NEW_ROWS:])
    lists = given.folder / "on_disk.ivfdata"
    try:
        figures = _measure(stored, new, lists)
    finally:
        lists.unlink(missing_ok=True)
    sys.stdout.write(json.dumps({"stored": len(stored), "new": len(new), **figures}) + "\n")
    if given.size == DEFAULT_SIZE:
        head = ["nprobe", "seconds, file not in memory", "seconds, again", "recall"]
        rows = [
            [str(nprobe), *(f"{found[key]:.2f}" for key in ("cold_seconds", "seconds")), f"{found['recall']:.5f}"]
            for nprobe, found in figures["searches"].items()
        ]
        write_section("on-disk", head, rows)


def _measure(stored: npt.NDArray[np.float16], new: npt.NDArray[np.float32], lists: Path) -> dict[str, Any]:
    # By name, since no part of the project needs it.
    faiss = import_module("faiss")
    started = time.perf_counter()
    count = 2 ** round(np.log2(4 * np.sqrt(len(stored))))
    width = stored.shape[1]
    quantizer = faiss.IndexFlatIP(width)
    kind = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(quantizer, width, count, kind, faiss.METRIC_INNER_PRODUCT, False)
    sample = np.random.default_rng(0).choice(len(stored), min(len(stored), SAMPLE), replace=False)
    index.train(_units(stored[np.sort(sample)]))
    # Held by a name as long as the index, which does not own it.
    on_disk = faiss.OnDiskInvertedLists(count, index.code_size, str(lists))
    index.replace_invlists(on_disk)
    for start in range(0, len(stored), BLOCK):
        index.add(_units(stored[start : start + BLOCK]))
    build = time.perf_counter() - started
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wanted = _brute_force(stored, new)
    searches = {}
    for nprobe in NPROBES:
        index.nprobe = nprobe
        _forget(lists)
        cold, found = _search(index, new)
        warm, _ = _search(index, new)
        recall = len(np.intersect1d(found, wanted)) / max(len(wanted), 1)
        searches[nprobe] = {"cold_seconds": cold, "seconds": warm, "recall": recall, "pairs": len(found)}
    return {
        "lists": count,
        "build_seconds": build,
        "build_peak_rss_mb": rss_mb,
        "file_mb": lists.stat().st_size / 1e6,
        "pairs": len(wanted),
        "searches": searches,
    }


def _search(index: Any, new: npt.NDArray[np.float32]) -> tuple[float, npt.NDArray[np.int64]]:
    started = time.perf_counter()
    limits, _, near = index.range_search(new, THRESHOLD)
    seconds = time.perf_counter() - started
    return seconds, _keys(np.repeat(np.arange(len(new)), np.diff(limits).astype(np.int64)), near)


def _brute_force(stored: npt.NDArray[np.float16], new: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    found = []
    for start in range(0, len(stored), BLOCK):
        one, other = np.nonzero(new @ _units(stored[start : start + BLOCK]).T > THRESHOLD)
        found.append(_keys(one, start + other))
    return np.concatenate(found)


def _keys(one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    return one.astype(np.int64) << 32 | other.astype(np.int64)


def _forget(path: Path) -> None:
    """Have the system drop its copies of a file's pages."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
