# SPDX-License-Identifier: Apache-2.0
"""Finding local files and dividing rows, the same way for every dataset."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from lipbench.api import InvalidInput, data_root

SPLITS = ("train", "test")


def check_split(split: str) -> None:
    """Refuse any split but `train` and `test`.

    Raises:
        InvalidInput: Another name was asked for.
    """
    if split not in SPLITS:
        raise InvalidInput(f"there is no split {split!r}; write train or test")


def locate(path: str, root: str | None, what: str) -> Path:
    """A file or folder given as an absolute path, from the working directory, or from the data folder.

    Raises:
        InvalidInput: It is in none of these places.
    """
    given = Path(path).expanduser()
    places = [given] if given.is_absolute() else list(dict.fromkeys([given, data_root(root) / given]))
    for place in places:
        if place.exists():
            return place
    looked = " and ".join(str(p.absolute()) for p in places)
    raise InvalidInput(f"{what} not found at {looked}; mend the path, or set LIPBENCH_DATA or root: to the folder that has it")


def package_folder(package: str, extra: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        InvalidInput: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInput(f"this dataset needs the package {package}: pip install '{extra}'")
    return Path(next(iter(spec.submodule_search_locations)))


def divide(rows: int, split: str, test_fraction: float) -> np.ndarray:
    """Sorted row numbers of one split; the division is fixed, whatever the seed of the suite.

    Both splits get at least one row where there are two or more.

    Raises:
        InvalidInput: An unknown split, or fewer than two rows.
    """
    check_split(split)
    if rows < 2:
        raise InvalidInput(f"{rows} rows cannot be divided into train and test; at least 2 are needed")
    test = min(rows - 1, max(1, round(rows * test_fraction)))
    order = np.random.default_rng(0).permutation(rows)
    return np.sort(order[:test] if split == "test" else order[test:])
