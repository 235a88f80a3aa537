"""``featherlight serve``."""

from __future__ import annotations

from pathlib import Path

import click

from featherlight.cli import completing
from featherlight.cli.amounts import PIXELS, SIZE, TIME
from featherlight.cli.options import engine_option

EXAMPLES = """\b
Examples:
  featherlight serve runs/a/onnx
  featherlight serve cifar10 --port 9000
  featherlight serve runs/a/onnx --host 0.0.0.0 --api-key-file keys.txt --workers 2

\b
Then: curl -F files=@cat.jpg "http://127.0.0.1:8000/v1/predict?top=3"
A page to try it is at /, the description of the interface at /docs, numbers for
Prometheus at /metrics. What is beyond a limit is refused before it is decoded:
413 (too large), 408 (too slow), 503 with Retry-After (no room). A request has no
way to make the server open a file or an address.

\b
SIGTERM or Ctrl-C: no more is accepted, what was accepted is answered. Replace
the model's file while it runs (by renaming, as export does): the new one is
tried, then takes over; a broken one is refused, and the old one stays.
"""


@click.command("serve")
@click.argument("model", shell_complete=completing.model)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="0.0.0.0: also from elsewhere.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, metavar="N", help="0: a free one."
)
@engine_option
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N",
    help="Processes, each with its own copy of the model, queue and limits.",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(1), metavar="N",
    help="That each worker computes and decodes with.  [default: cores / workers]",
)  # fmt: skip
@click.option(
    "--api-key-file", type=click.Path(path_type=Path), metavar="FILE",
    help="Keys, one a line; one of them is needed to ask.  [default: anybody may]",
)  # fmt: skip
@click.option(
    "--max-batch", type=click.IntRange(1, 1024), default=32, show_default=True, metavar="N",
    help="Images computed at once, at most.",
)  # fmt: skip
@click.option(
    "--latency-target", type=TIME, default="50ms", show_default=True, metavar="TIME",
    help="An image waits for others at most so long, computing included.",
)  # fmt: skip
@click.option("--max-body", type=SIZE, default="20MB", show_default=True, metavar="SIZE", help="Of a request.")
@click.option("--max-pixels", type=PIXELS, default="50MP", show_default=True, metavar="N", help="Of an image.")
@click.option(
    "--max-files", type=click.IntRange(1), default=64, show_default=True, metavar="N", help="Images of a request."
)
@click.option(
    "--request-timeout", type=TIME, default="30s", show_default=True, metavar="TIME",
    help="For a request, from its headers to its answer.",
)  # fmt: skip
@click.option(
    "--queue", type=click.IntRange(1), default=128, show_default=True, metavar="N",
    help="Images accepted and not yet answered; more are refused.",
)  # fmt: skip
def command(
    model: str,
    host: str,
    port: int,
    engine: str,
    workers: int,
    threads: int | None,
    api_key_file: Path | None,
    max_batch: int,
    latency_target: float,
    max_body: float,
    max_pixels: float,
    max_files: int,
    request_timeout: float,
    queue: int,
) -> None:
    """Answer images over HTTP with MODEL (a run directory, a model file, an exported file or folder)."""
    from featherlight.serve.run import serve
    from featherlight.serve.settings import Settings, read_api_keys

    serve(
        Settings(
            Path(model), host, port, engine, workers, threads,
            read_api_keys(api_key_file) if api_key_file else (),
            max_batch, latency_target, int(max_body), int(max_pixels), max_files, request_timeout, queue,
        )
    )  # fmt: skip
