"""How near vectors are to each other."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def similarity(one: Any, other: Any = None) -> "NDArray[np.float32]":
    """Cosine similarities `[N, M]` float32 in [-1, 1] of vectors `[N, D]` and `[M, D]`, as `encode` gives them.

    A single vector `[D]` counts as one of many; without `other` the vectors are compared with each other. Raises
    DataError for anything else.
    """
    import numpy as np

    from nearfar.errors import DataError

    def unit(vectors: Any) -> "NDArray[np.float32]":
        given = vectors.detach().cpu().numpy() if hasattr(vectors, "detach") else vectors
        try:
            found = np.atleast_2d(np.asarray(given, dtype=np.float32))
        except (TypeError, ValueError):
            raise DataError(
                f"similarity compares vectors of numbers, got {type(vectors).__name__}: encode first."
            ) from None
        lengths = np.linalg.norm(found, axis=-1, keepdims=True)
        scaled: NDArray[np.float32] = np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)
        return scaled

    a = unit(one)
    b = a if other is None else unit(other)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"similarity compares vectors of one length, got {list(a.shape)} and {list(b.shape)}.")
    cosines: NDArray[np.float32] = np.clip(a @ b.T, -1, 1)
    return cosines
