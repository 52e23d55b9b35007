# SPDX-License-Identifier: Apache-2.0
"""Checks of a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipbench.contract.components import Method
from lipbench.contract.context import Context
from lipbench.testing.arrays import Array, arrays_in, different, floating, numpy_of, replaced, with_nan, written_by
from lipbench.testing.common import COMMON
from lipbench.testing.kit import Checks, Conformance, DoesNotApply, Subject, find, global_seed, in_batches

Call = Callable[[Any, Any, Context], Any]


@dataclass(frozen=True, kw_only=True)
class MethodSubject(Subject):
    """A method under test, and how a task would call it."""

    call: Call
    inputs: Callable[[], Any]
    tolerance: float

    def result(self, inputs: Any, method: Any = None, world: int = 0, **more: Any) -> Any:
        """What it makes of inputs, with the global generators at `world`."""
        with global_seed(world):
            return self.call(self.make() if method is None else method, inputs, self.context(**more))


def result(subject: MethodSubject) -> Iterable[str]:
    """It gives arrays, tensors or numbers, all finite."""
    found = list(_arrays(subject.result(subject.inputs())))
    if not found:
        yield "the call gives neither arrays nor numbers, so nothing of it can be checked"
    for path, array in found:
        if floating(array) and not np.isfinite(numpy_of(array)).all():
            yield f"{path} is not finite"


def determinism(subject: MethodSubject) -> Iterable[str]:
    """The same seed gives the same result, bit for bit, from each object and each time."""
    one = dict(_arrays(subject.result(subject.inputs())))
    if different(one, dict(_arrays(subject.result(subject.inputs())))):
        yield "calling it twice gives other results; draw from ctx alone"
    elif different(one, dict(_arrays(subject.result(subject.inputs(), world=1)))):
        yield "its results hang on a global random generator; draw from ctx.rng() or ctx.generator()"
    method = subject.make()
    subject.result(subject.inputs(), method)
    if different(one, dict(_arrays(subject.result(subject.inputs(), method)))):
        yield "one object gives another result the second time: it keeps something from one call to the next"


def inputs_unchanged(subject: MethodSubject) -> Iterable[str]:
    """It does not write to what it is given."""
    for path in written_by(subject.result, subject.inputs()):
        yield f"it writes to its input {path}; copy before writing"


def batch_independence(subject: MethodSubject) -> Iterable[str]:
    """Smaller batches, after memory ran out, give the same result up to rounding."""
    whole, smaller = in_batches(lambda **context: dict(_arrays(subject.result(subject.inputs(), **context))))
    for part in smaller.values():
        for path, array in whole.items():
            a, b = numpy_of(array), numpy_of(part[path])
            if a.shape != b.shape or not np.allclose(a, b, rtol=subject.tolerance, atol=subject.tolerance * _size(a)):
                yield f"{path} hangs on the size of the batch"


def nan_inputs(subject: MethodSubject) -> Iterable[str]:
    """NaN in its inputs is refused or shows in the result."""
    inputs = subject.inputs()
    if not any(floating(array) for _, array in arrays_in(inputs)):
        raise DoesNotApply("its inputs hold no arrays that could be changed")
    try:
        found = subject.result(replaced(inputs, with_nan))
    except Exception:
        return
    numbers = [numpy_of(array) for _, array in _arrays(found) if floating(array)]
    if numbers and all(np.isfinite(a).all() for a in numbers):
        yield "inputs with NaN give an ordinary result; raise InvalidInput, or let NaN through"


def _arrays(found: Any) -> Iterable[tuple[str, Array]]:
    if isinstance(found, (int, float)):
        return [("result", np.asarray(found))]
    return arrays_in(found, "result")


def _size(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=1e-12)) if array.dtype.kind in "fiu" else 1.0


CHECKS: Checks[MethodSubject] = Checks(checks=(*COMMON, result, determinism, inputs_unchanged, batch_independence, nan_inputs))


def check_method(
    component: type[Method] | str,
    *,
    call: Call,
    inputs: Callable[[], Any],
    tolerance: float = 1e-4,
    params: Mapping[str, Any] | None = None,
    plugin: str | None = None,
    waive: Mapping[str, str] | None = None,
) -> Conformance:
    """Check that a method keeps the contract: determinism, inputs left alone, batches, NaN.

    Args:
        component: Its name, or its class.
        call: Calls it as its task does: takes the method, the inputs and a context; gives arrays, tensors or numbers.
        inputs: Makes the inputs; called again and again, it gives the same.
        tolerance: Relative, for batches.
        params: Parameters that its constructor gets.
        plugin: File or module of a plugin that is not installed.
        waive: Name of a check to the reason why it need not pass.

    Raises:
        ConformanceError: With a line for each fault.
    """
    cls, declared = find("method", component, plugin)
    subject = MethodSubject(
        kind="method", cls=cls, declared=declared, params=params or {}, call=call, inputs=inputs, tolerance=tolerance
    )
    return CHECKS.run(subject, waive or {})
