"""Which compiled library belongs to which machine."""

from __future__ import annotations

import pytest

from featherlight.kernels import library


def test_a_processor_of_the_same_name_with_other_instructions_gets_a_library_of_its_own(monkeypatch):
    names = set()
    for instructions in ("flags : avx2 fma", "flags : avx2 fma avx512f"):
        monkeypatch.setattr(library, "_instructions", lambda instructions=instructions: instructions)
        names.add(library._library_name("cc", library.FLAGS))
    assert len(names) == 2


@pytest.mark.skipif(not library.Path("/proc/cpuinfo").is_file(), reason="no /proc/cpuinfo here")
def test_instructions_are_those_of_this_processor():
    kind, _, names = library._instructions().partition(":")
    assert kind.strip() in ("flags", "Features")
    assert len(names.split()) > 3
