"""Whether a new adapter may stay: its figures next to those of the one before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Shares of small sets are differences of rounded fractions: 1 - 0.95 is more than 0.05.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much worse a new adapter may be.

    Attributes:
        drift: most rise of the median token loss on general text, as a ratio.
        recall_loss: most loss of recall, 0 to 1.
        sft_loss_rise: most rise of the mean token loss on held-out memory pairs, as a ratio.
        preference_loss: most loss of preference accuracy, 0 to 1.

    """

    drift: float
    recall_loss: float
    sft_loss_rise: float
    preference_loss: float


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        name: `drift`, `recall` or `sft_loss`, `preference`.
        passed: whether the new adapter is good enough; what could not be measured is not.
        line: the figures in words.

    """

    name: str
    passed: bool
    line: str


def gate(
    *,
    drift: float | None,
    new: Mapping[str, float | None],
    old: Mapping[str, float | None],
    has_probes: bool,
    bounds: Bounds,
) -> tuple[Check, ...]:
    """Return the checks of a new adapter; it may stay where all of them passed.

    The drift is that of the median token loss, which tracks judged quality where the mean does not (arXiv 2605.24657).
    Memory is judged by recall where the training config names probes, elsewhere by the loss on held-out memory pairs,
    as it is for early stopping. A gate that approves when its benchmark is missing is none: a figure that is not there
    fails its check.

    Args:
        drift: relative rise of the median token loss on general text, 0.1 is 10 % worse; None is not measured.
        new: `recall` and `preference_accuracy` of the new adapter, 0 to 1, and its `sft_loss`, nats a token.
        old: the same of the one before it, measured on the same things.
        has_probes: whether recall was to be measured.
        bounds: what is allowed.

    """
    return (
        _drift(drift, bounds.drift),
        _share("recall", new.get("recall"), old.get("recall"), bounds.recall_loss)
        if has_probes
        else _sft_loss(new.get("sft_loss"), old.get("sft_loss"), bounds.sft_loss_rise),
        _share("preference", new.get("preference_accuracy"), old.get("preference_accuracy"), bounds.preference_loss),
    )


def _drift(drift: float | None, allowed: float) -> Check:
    if drift is None:
        return Check("drift", False, "drift was not measured")
    return Check("drift", drift <= allowed + _ROUNDING, f"drift {drift:+.1%}, allowed {allowed:+.1%}")


def _share(name: str, new: float | None, old: float | None, allowed: float) -> Check:
    figure = "preference accuracy" if name == "preference" else name
    if new is None or old is None:
        return Check(name, False, _unmeasured(figure, new, old))
    line = f"{figure} {new:.0%} after {old:.0%}, allowed a loss of {allowed:.0%}"
    return Check(name, old - new <= allowed + _ROUNDING, line)


def _sft_loss(new: float | None, old: float | None, allowed: float) -> Check:
    if new is None or old is None:
        return Check("sft_loss", False, _unmeasured("loss on held-out memory pairs", new, old))
    line = f"loss on held-out memory pairs {new:.3f} after {old:.3f}, allowed a rise of {allowed:.0%}"
    return Check("sft_loss", new <= old * (1 + allowed) + _ROUNDING, line)


def _unmeasured(figure: str, new: float | None, old: float | None) -> str:
    missing = [which for which, value in (("the new adapter", new), ("the one before", old)) if value is None]
    return f"{figure} was not measured of {' and '.join(missing)}"
