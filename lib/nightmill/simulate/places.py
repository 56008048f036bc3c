"""Files below the raw folder, on any of Hadoop's file systems."""

from __future__ import annotations

import os
from typing import Any

from pyspark.sql import SparkSession


def rooted(raw: str) -> str:
    """The raw folder without a slash at its end; local paths absolute, because the JVM has its own working folder."""
    return raw.rstrip("/") if "://" in raw else os.path.abspath(raw)


def file_system(spark: SparkSession, folder: str) -> tuple[Any, Any]:
    """The Java file system of a folder, and the class of its paths."""
    path = spark._jvm.org.apache.hadoop.fs.Path  # type: ignore[union-attr]
    return path(folder).getFileSystem(spark._jsc.hadoopConfiguration()), path


def put(spark: SparkSession, file: str, content: bytes) -> None:
    """Writes a small file."""
    fs, path = file_system(spark, file)
    stream = fs.create(path(file), True)
    stream.write(bytearray(content))
    stream.close()
    _without_checksum(fs, path, file)


def copy(spark: SparkSession, source: str, target: str) -> None:
    """Copies a file within one file system."""
    fs, path = file_system(spark, target)
    tool = spark._jvm.org.apache.hadoop.fs.FileUtil  # type: ignore[union-attr]
    tool.copy(fs, path(source), fs, path(target), False, spark._jsc.hadoopConfiguration())
    _without_checksum(fs, path, target)


def _without_checksum(fs: Any, path: Any, file: str) -> None:
    folder, _, name = file.rpartition("/")
    fs.delete(path(f"{folder}/.{name}.crc"), False)
