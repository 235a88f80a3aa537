"""Manifests: images and labels listed in CSV, Parquet, JSON lines or text files."""

from featherlight.sources.manifest.opening import (
    MANIFEST_SUFFIXES,
    find_manifests,
    find_table,
    is_manifest_name,
    open_folder_of_lists,
    open_manifest,
)

__all__ = [
    "MANIFEST_SUFFIXES",
    "find_manifests",
    "find_table",
    "is_manifest_name",
    "open_folder_of_lists",
    "open_manifest",
]
