"""A training run of several processes: who prepares, who writes, and how it goes on when one was lost."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import nn

from featherlight.console import note
from featherlight.errors import DataError, UsageError
from featherlight.sources.base import Source
from featherlight.training.recipe import RECIPE_FILE_NAME, Recipe, read_recipe
from featherlight.training.shared_norms import share_norms
from featherlight.training.team import Team
from featherlight.workflows.run_directory import new_run_directory, refuse_taken

FEW = 16  # images; statistics of fewer are noisy (Wu and He 2018, group normalisation, figure 1)
_SETTLED = ("layout", "precision", "compile", "kernels", "threads")  # by measuring, when a run begins


def settle_for_team(recipe: Recipe, network: nn.Module, team: Team) -> Recipe:
    """The recipe without what several processes cannot do; the network's norms see all of them if it says so.

    Raises:
        UsageError: something in it needs a single process.
    """
    if team.is_alone:
        return recipe
    if recipe.quantize_aware is not None:
        raise UsageError("fine-tuning for int8 takes one process: run it without torchrun")
    share = recipe.batch_size // team.world
    note(f"{team.world} processes, each with {share} of {recipe.batch_size} images a batch")
    if recipe.mixup or recipe.cutmix:
        note("images are mixed within each process's share of a batch")
    if not recipe.sync_norms:
        if share < FEW:
            note(f"batch norm sees {share} images at a time; --set sync_norms=true lets it see all {recipe.batch_size}")
        return recipe
    if recipe.kernels == "on" or recipe.compile == "on":
        note("sync_norms: Featherlight's operators and torch.compile are left out")
    share_norms(network)
    return replace(recipe, kernels="off", compile="off")


def check_same_images(source: Source, team: Team) -> None:
    """Refuses to train on other images in each process.

    Raises:
        DataError: they have not the same.
    """
    if len(set(team.collect(source.fingerprint))) > 1:
        raise DataError(f"{source.name}: the processes see different images; every machine needs the same ones")


def prepare_out(out: str | Path | None, team: Team) -> None:
    """Says at once what is wrong with the run directory.

    Raises:
        UsageError: it is taken; or none is named, which a restart would not find again.
    """
    if out is None and not team.is_alone:
        raise UsageError("several processes need the run directory's name, to find it again: --out DIR")
    if team.is_leader and not _was_begun(out):
        refuse_taken(out)


def begun_recipe(out: str | Path | None, wanted: Recipe, team: Team) -> Recipe | None:
    """The recipe of the run that an earlier start of these same processes began; None: there is none.

    Raises:
        UsageError: there is a run, but another one.
    """
    return team.decide(lambda: _read_begun(out, wanted), None)


def _read_begun(out: str | Path | None, wanted: Recipe) -> Recipe | None:
    if out is None or not _was_begun(out):
        return None
    begun = read_recipe(Path(out))
    open_fields = {name: getattr(wanted, name) for name in (*_SETTLED, "pretrained")}
    if replace(begun, **open_fields) != wanted:
        raise UsageError(f"{out} holds another run; choose another --out")
    note(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']} after a failure: going on with {out}")
    return begun


def _was_begun(out: str | Path | None) -> bool:
    """Whether ``torchrun`` has started these processes anew and there is a run already."""
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return restarted and out is not None and (Path(out) / RECIPE_FILE_NAME).is_file()


@contextlib.contextmanager
def shared_run_directory(team: Team, out: str | Path | None, data: str, model: str) -> Iterator[Path]:
    """As :func:`new_run_directory`, which the leader calls."""
    if team.is_leader:
        with new_run_directory(out, data, model) as run:
            yield team.share(run)
    else:
        yield team.share(Path())
