"""Reading what trainers log: console lines, JSON, CSV, Parquet and TensorBoard events, as columns of known meaning."""

from entclip.integrations.logs.log import Log
from entclip.integrations.logs.reading import read_log, read_rows

__all__ = ["Log", "read_log", "read_rows"]
