from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, torch.Tensor]]:
    """The weights that an uninterrupted run of these settings ends with; each is made once."""
    from test_trainer import make_trainer, weights_of

    made: dict[str, dict[str, torch.Tensor]] = {}

    def weights(**settings: Any) -> dict[str, torch.Tensor]:
        name = repr(sorted(settings.items()))
        if name not in made:
            made[name] = weights_of(make_trainer(tmp_path_factory.mktemp("whole"), **settings).fit())
        return made[name]

    return weights
