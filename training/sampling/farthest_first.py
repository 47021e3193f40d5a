"""The samples of a pool that lie farthest from each other."""

import numpy as np
import numpy.typing as npt

# A pass over so many rows of 384 numbers takes some 20 ms; a basis needs one for each of its samples.
MOST_ROWS = 100_000


def farthest_first(vectors: npt.NDArray[np.float32], *, count: int, start: int) -> npt.NDArray[np.int64]:
    """Return `count` row numbers, shape (count,), each the farthest from all those before it.

    `vectors` are unit rows, shape (n, d), `count` at most n; distance is by cosine, `start` the first row. No choice
    of `count` rows covers the pool with balls of less than half the radius: Gonzalez 1985,
    doi 10.1016/0304-3975(85)90224-5.
    """
    chosen = np.empty(count, dtype=np.int64)
    nearest = np.full(len(vectors), -np.inf, dtype=np.float32)
    row = start
    for place in range(count):
        chosen[place] = row
        np.maximum(nearest, vectors @ vectors[row], out=nearest)
        # Among equal rows the chosen ones would come again.
        nearest[row] = np.inf
        row = int(nearest.argmin())
    return chosen


def basis_first(
    drawn: npt.NDArray[np.int64],
    *,
    vectors: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    count: int,
) -> npt.NDArray[np.int64]:
    """Return the positions `drawn`, shape (m,), with a farthest-first basis of `count` of them in front.

    `vectors`, shape (n, d), and `weights`, shape (n,), are the pool's; the basis begins with the heaviest sample. Of
    a very large epoch the basis comes from the first `MOST_ROWS`.
    """
    candidates = drawn[:MOST_ROWS]
    start = int(weights[candidates].argmax())
    basis = farthest_first(vectors[candidates], count=min(count, len(candidates)), start=start)
    is_basis = np.zeros(len(drawn), dtype=np.bool_)
    is_basis[basis] = True
    return np.concatenate([candidates[basis], drawn[~is_basis]])
