"""Rows of a Parquet file, such as a W&B run's history, one row group after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from entclip.integrations.logs.lines import OneRun, check_header
from entclip.support.errors import SpecError

__all__ = ["rows"]

_BATCH = 4096


def rows(path: Path, known: Callable[[str], bool], one: OneRun) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield every row with the columns that are numbers and known; rows are numbered from 1.

    Raises: SpecError for a file that is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            check_header(schema.names)
            numeric = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in schema.types]
            wanted = [name for name, is_number in zip(schema.names, numeric, strict=True) if is_number and known(name)]
            told = [name for name in OneRun.COLUMNS if name in schema.names and pa.types.is_string(schema.field(name).type)]
            number = 0
            for batch in file.iter_batches(_BATCH, columns=[*wanted, *told]) if wanted else ():
                held = dict(zip(batch.schema.names, (column.to_pylist() for column in batch.columns), strict=True))
                columns = [held[name] for name in wanted]
                for i in range(batch.num_rows):
                    number += 1
                    if told and not one.keeps({name: held[name][i] for name in told}):
                        continue
                    yield number, {n: float(c[i]) for n, c in zip(wanted, columns, strict=True) if c[i] is not None}
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise SpecError(f"it is no whole Parquet file: {reason[:200]}.") from None
