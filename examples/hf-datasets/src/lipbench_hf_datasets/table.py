# SPDX-License-Identifier: Apache-2.0
"""A table in a local file, read by Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from lipbench.api import Context, Dataset, DataSpec, InvalidInput, Split, data_root


class HfTable(Dataset):
    """Columns of numbers and a column of labels from a local CSV, JSON or Parquet file, read by Hugging Face `datasets`.

    Only the readers of plain tables are used: no script and no network. Rows are dealt to the two splits by their number.

    Args:
        file: Path below `$LIPBENCH_DATA`, or an absolute one.
        form: How the file is written.
        features: Names of the columns of one input.
        label: Name of the column of classes, integers from 0.
        classes: Number of classes.
        low: Smallest possible feature.
        high: Largest possible feature.
        test_every: Each row of this many goes to the test split, the others to the training split.
    """

    licence = "that of the file"

    def __init__(
        self,
        *,
        file: str,
        features: tuple[str, ...],
        label: str,
        classes: Annotated[int, Field(ge=1)],
        low: float,
        high: float,
        form: Literal["csv", "json", "parquet"] = "csv",
        test_every: Annotated[int, Field(ge=2)] = 5,
    ) -> None:
        self.file, self.form, self.features, self.label = file, form, features, label
        self.classes, self.low, self.high, self.test_every = classes, low, high, test_every

    def spec(self) -> DataSpec:
        """One number a feature."""
        return DataSpec(shape=(len(self.features),), low=self.low, high=self.high, classes=self.classes)

    def files(self) -> Sequence[Path]:
        """The table."""
        path = data_root() / self.file
        if not path.is_file():
            raise InvalidInput(f"hf_table: {path} is missing; put it there, or set LIPBENCH_DATA")
        return [path]

    def load(self, split: str, ctx: Context) -> Split:
        """Read the table and take the rows of one split."""
        table = self._table()
        number = np.arange(len(table))
        rows = number[(number % self.test_every == 0) == (split == "test")]
        try:
            part = table.select(rows).with_format("numpy")
            inputs = np.stack([np.asarray(part[name], dtype=np.float32) for name in self.features], axis=1)
            targets = np.asarray(part[self.label], dtype=np.int64)
        except (KeyError, ValueError, TypeError) as error:
            raise InvalidInput(f"hf_table: {self.file}: {error}; its columns are {', '.join(table.column_names)}") from error
        if len(targets) and not (targets.min() >= 0 and targets.max() < self.classes):
            raise InvalidInput(f"hf_table: {self.file}: labels must be from 0 to {self.classes - 1}")
        return Split(inputs=inputs, targets=targets)

    def _table(self) -> Any:
        (path,) = self.files()
        try:
            # Here and not above: without it, `lipbench list` still works.
            from datasets import load_dataset
        except ImportError as error:
            raise InvalidInput(f"hf_table: datasets cannot be imported ({error}); pip install datasets") from error
        with TemporaryDirectory() as cache:  # a cache of its own: what a change of the file leaves behind is gone
            try:
                return load_dataset(
                    self.form, data_files=str(path.absolute()), split="train", cache_dir=cache, keep_in_memory=True
                )
            except Exception as error:
                raise InvalidInput(f"hf_table: {path} cannot be read as {self.form}: {error}") from error
