"""Sample paths: marginals from quantiles, dependence from the ranks of past errors.

Relies on NumPy and SciPy. Shapes: P paths, H steps, N forecast origins, Q and L levels, R rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

__all__ = ["dependent_uniforms", "normal_scores", "quantiles_at"]


def normal_scores(scores: np.ndarray, levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return where the truth lay in its forecast distribution, as a standard normal score.

    The probability integral transform through quantiles that are interpolated as
    `tsfusion.quantiles.interpolate_quantiles` does.

    Parameters
    ----------
    scores : ndarray, shape (..., Q)
        ``y - q``: decreasing along the last axis.
    levels : sequence of float, shape (Q,)

    Returns
    -------
    ndarray, shape (...)
        NaN where a score is.

    References
    ----------
    Dawid (1984), "Statistical theory: the prequential approach", Journal of the Royal Statistical
    Society A 147(2), section 5.3.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import ndtr
    >>> at = normal_scores(np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]]), [0.1, 0.5, 0.9])
    >>> ndtr(at).round(6).tolist()
    [0.5, 0.9]
    """
    z = ndtri(np.asarray(levels, float))
    if len(z) == 1:
        return scores[..., 0].astype(float)
    passed = (scores >= 0).sum(axis=-1)
    left = np.clip(passed - 1, 0, len(z) - 2)
    low = np.take_along_axis(scores, left[..., None], -1)[..., 0].astype(float)
    high = np.take_along_axis(scores, left[..., None] + 1, -1)[..., 0]
    gap = np.maximum(low - high, 1e-12 * np.maximum(np.abs(low), 1))
    return z[left] + low / gap * (z[left + 1] - z[left])


def dependent_uniforms(
    template: np.ndarray, n_paths: int, random: np.random.RandomState
) -> np.ndarray:
    """Return uniform numbers that rise and fall together as the columns of a template do.

    Origins are drawn from the template (each once before any comes twice). Their ranks at each step
    say in which of P equal parts of (0, 1) a path's number falls; where within it, is drawn. So
    every step has one number in each part, whatever the template.

    Parameters
    ----------
    template : ndarray, shape (N, H)
        Only its order within each column counts.
    n_paths : int
        P.
    random : RandomState

    Returns
    -------
    ndarray, shape (P, H)

    References
    ----------
    Clark et al. (2004), "The Schaake shuffle", Journal of Hydrometeorology 5(1), with errors in
    place of past weather: Schefzik, Thorarinsdottir and Gneiting (2013), "Uncertainty
    quantification in complex simulation models using ensemble copula coupling", Statistical Science
    28(4).

    Examples
    --------
    >>> import numpy as np
    >>> same = np.repeat(np.arange(5.0)[:, None], 2, axis=1)
    >>> drawn = dependent_uniforms(same, 5, np.random.RandomState(0))
    >>> np.sort((drawn * 5).astype(int), axis=0).tolist()
    [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]]
    >>> bool((np.argsort(drawn[:, 0]) == np.argsort(drawn[:, 1])).all())
    True
    """
    rounds = -(-n_paths // len(template))
    drawn = np.concatenate([random.permutation(len(template)) for _ in range(rounds)])[:n_paths]
    rank = np.argsort(np.argsort(template[drawn], axis=0, kind="stable"), axis=0)
    return (rank + random.random_sample(rank.shape)) / n_paths


def quantiles_at(
    values: np.ndarray, levels: Sequence[float] | np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """Return quantiles at levels that differ by row.

    Interpolated as `tsfusion.quantiles.interpolate_quantiles` does.

    Parameters
    ----------
    values : ndarray, shape (R, L)
        Quantiles, increasing along the last axis.
    levels : sequence of float, shape (L,)
    asked : ndarray, shape (R, P)
        Levels in (0, 1).

    Returns
    -------
    ndarray, shape (R, P)

    Examples
    --------
    >>> import numpy as np
    >>> quantiles = np.array([[-1.0, 0.0, 1.0], [9.0, 10.0, 11.0]])
    >>> quantiles_at(quantiles, [0.1, 0.5, 0.9], np.array([[0.5], [0.9]])).tolist()
    [[0.0], [11.0]]
    """
    z, want = ndtri(np.asarray(levels, float)), ndtri(asked)
    if len(z) == 1:
        return np.repeat(values, want.shape[-1], axis=-1)
    left = np.clip(np.searchsorted(z, want, side="right") - 1, 0, len(z) - 2)
    share = (want - z[left]) / (z[left + 1] - z[left])
    low = np.take_along_axis(values, left, -1)
    return low * (1 - share) + np.take_along_axis(values, left + 1, -1) * share
