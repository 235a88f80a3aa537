"""A Parquet file of answers that grows part by part: in a folder beside it, until all are there."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from featherlight.errors import FeatherlightError, UsageError
from featherlight.files import atomic_path, write_bytes
from featherlight.sources.stores import find_store, is_stored, open_store
from featherlight.workflows.answer_part import answer_schema

SUFFIX = ".parquet"
ABOUT = "featherlight"  # in the file's metadata: what was asked
_JOB = "job.json"  # in the folder of parts: the same
_LOCK = "lock"
_PART = re.compile(r"(\d{8})\.parquet")
_ROWS_IN_GROUP = 100_000

About = Mapping[str, Any]


class AnswerFile:
    """The file, and its parts in ``OUTPUT.parts`` while it is made.

    Args:
        output: a path, or an address of a store.

    Raises:
        UsageError: the name does not end in ``.parquet``.
        MissingExtraError: PyArrow is not installed.
    """

    def __init__(self, output: str | Path) -> None:
        self._shown = str(output)
        self._schema = answer_schema()
        from pyarrow.fs import LocalFileSystem

        self._is_local = not is_stored(self._shown)
        if self._is_local:
            self._files, self._path = LocalFileSystem(), str(Path(output).expanduser().absolute())
        else:
            store, address = find_store(self._shown)
            self._files, self._path = open_store(store), address.partition("://")[2]
        if not self._path.lower().endswith(SUFFIX):
            raise UsageError(f"{output}: answers are written as Parquet; give a name that ends in {SUFFIX}")
        self._folder = f"{self._path}.parts"
        self._about: About = {}

    @contextmanager
    def claim(self, about: About) -> Iterator[None]:
        """Inside, the file is ours: what there is of it answers what ``about`` says.

        Raises:
            UsageError: the file, or parts of one, answer something else, or another process is at it.
            FeatherlightError: it cannot be written.
        """
        self._about = about
        with ExitStack() as claimed:
            with self._explaining():
                existing = self._existing()
                if existing is not None and existing != about:
                    raise UsageError(f"{self._shown} exists and answers something else; choose another --output")
                claimed.enter_context(self._lock())
                if existing is None:
                    self._claim_parts()
            try:
                yield
            except BaseException:
                if existing is None and not self.finished():  # nothing to go on with
                    self.remove_parts()
                raise

    def is_complete(self) -> bool:
        """Whether the file is there; it then answers what was asked."""
        return self._existing() is not None

    def finished(self) -> set[int]:
        """Numbers of the parts that are there."""
        return {int(match[1]) for name in self._names() if (match := _PART.fullmatch(name))}

    def add(self, number: int, table: Any) -> None:
        """Keeps the answers of a part."""
        import pyarrow as pa
        from pyarrow import parquet

        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink)
        with self._explaining():
            self._write(self._part(number), sink.getvalue().to_pybytes())

    def join(self, count: int) -> None:
        """Makes the file of its parts, 0 to ``count`` - 1."""
        if self._is_local:
            with atomic_path(Path(self._path)) as place:
                self._write_all(place, count)
            return
        with self._explaining(), tempfile.TemporaryDirectory(prefix="featherlight-answers-") as folder:
            place = Path(folder) / "all.parquet"
            self._write_all(place, count)
            self._upload(place)

    def remove_parts(self) -> None:
        """The file is there; its parts are not needed any more."""
        from pyarrow.fs import FileType

        if self._files.get_file_info(self._folder).type != FileType.NotFound:
            self._files.delete_dir(self._folder)

    def count(self) -> tuple[int, int]:
        """How many images the file answers, and how many of these could not be read."""
        from pyarrow import parquet

        with self._files.open_input_file(self._path) as stream, parquet.ParquetFile(stream) as opened:
            metadata = opened.metadata
            groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
            column = metadata.num_columns - 1
            nulls = sum(group.column(column).statistics.null_count for group in groups)
            return metadata.num_rows, metadata.num_rows - nulls

    def _existing(self) -> About | None:
        """What the file says that it answers; None: there is none."""
        import pyarrow as pa
        from pyarrow import parquet
        from pyarrow.fs import FileType

        if self._files.get_file_info(self._path).type == FileType.NotFound:
            return None
        try:
            with self._files.open_input_file(self._path) as stream:
                return _parsed((parquet.read_schema(stream).metadata or {}).get(ABOUT.encode(), b""))
        except (pa.ArrowException, OSError):
            return {}

    def _claim_parts(self) -> None:
        """Writes what the parts answer, or compares it."""
        place = f"{self._folder}/{_JOB}"
        if _JOB in self._names():
            with self._files.open_input_stream(place) as stream:
                before = _parsed(stream.readall())
            if before != self._about:
                raise UsageError(
                    f"{self._folder} holds unfinished answers to something else: {_difference(before, self._about)}. "
                    "Ask the same to go on, or choose another --output, or remove that folder"
                )
        elif self._names() - {_LOCK}:
            raise UsageError(f"{self._folder} is in the way: it holds no answers; choose another --output")
        else:
            self._write(place, json.dumps(self._about, indent=2).encode())

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keeps other processes of this disk out; a store has no locks."""
        if not self._is_local:
            yield
            return
        Path(self._folder).mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self._folder}/{_LOCK}", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(f"another process is writing {self._shown}; let it finish, or end it first") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split())[:200]
            raise FeatherlightError(f"cannot write {self._shown}: {reason}") from error

    def _names(self) -> set[str]:
        """What lies in the folder of parts; hidden files are those that a kill left half-written."""
        from pyarrow.fs import FileSelector

        entries = self._files.get_file_info(FileSelector(self._folder, allow_not_found=True))
        return {entry.base_name for entry in entries if not entry.base_name.startswith(".")}

    def _part(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.parquet"

    def _write(self, place: str, content: bytes) -> None:
        """Writes a file that is whole or not there."""
        if self._is_local:
            write_bytes(Path(place), content)
        else:  # in one piece: an object appears when it is whole
            with self._files.open_output_stream(place) as stream:
                stream.write(content)

    def _write_all(self, place: Path, count: int) -> None:
        from pyarrow import parquet

        schema = self._schema.with_metadata({ABOUT: json.dumps(self._about)})
        with parquet.ParquetWriter(place, schema) as writer:
            for table in self._tables(count):
                writer.write_table(table.cast(schema))

    def _tables(self, count: int) -> Iterator[Any]:
        """The answers of all parts, many at a time."""
        import pyarrow as pa
        from pyarrow import parquet

        waiting: list[Any] = []
        for number in range(count):
            waiting.append(parquet.read_table(self._part(number), filesystem=self._files))
            if sum(map(len, waiting)) >= _ROWS_IN_GROUP or number == count - 1:
                yield pa.concat_tables(waiting)
                waiting = []

    def _upload(self, place: Path) -> None:
        from pyarrow.fs import LocalFileSystem, copy_files

        copy_files(str(place), self._path, source_filesystem=LocalFileSystem(), destination_filesystem=self._files)


def _parsed(text: bytes) -> About:
    try:
        about = json.loads(text)
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def _difference(before: About, now: About) -> str:
    changed = [name for name in now if before.get(name) != now[name]]
    return "other " + ", ".join(changed)
