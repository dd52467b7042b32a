"""Networks built without their random weights, where a file's weights follow at once.

Drawing random numbers takes most of the time in which a network is loaded: ten seconds for a
billion weights. Cost: nothing; memory is left as it is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode


class UnsetWeights(TorchFunctionMode):
    """Within it, `torch.nn.init` sets nothing, in this thread alone.

    Only for a network whose weights are all loaded afterwards, strictly, or that is thrown away.
    """

    def __torch_function__(
        self,
        function: Any,
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Give the tensor that an initialiser was called with; call anything else."""
        options = options or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return options["tensor"] if "tensor" in options else arguments[0]
        return function(*arguments, **options)
