"""What a file of foreign weights holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Weights:
    """Tensors by the names a file gives them; each is taken at most once.

    Attributes:
        tensors: what has not been taken yet.
        metadata: what the file says beside its tensors, for layouts whose names alone do not tell enough.
    """

    tensors: dict[str, Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def take(self, name: str) -> Tensor:
        """Removes and returns a tensor.

        Raises:
            KeyError: there is none of this name, or it has been taken.
        """
        return self.tensors.pop(name)
