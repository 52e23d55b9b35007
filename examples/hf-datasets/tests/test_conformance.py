# SPDX-License-Identifier: Apache-2.0
"""The dataset keeps the contract."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from lipbench_hf_datasets.table import HfTable

from lipbench.api import Context, InvalidInput
from lipbench.testing import check_dataset

pytestmark = pytest.mark.skipif(find_spec("datasets") is None, reason="datasets is not installed: pip install datasets")

ROWS = [{"length": i / 4, "width": 7 - i / 8, "kind": i % 2} for i in range(24)]


def write(folder, form):
    path = folder / f"flowers.{form}"
    if form == "csv":
        path.write_text("length,width,kind\n" + "".join(f"{r['length']},{r['width']},{r['kind']}\n" for r in ROWS))
    elif form == "json":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def given(path, **more):
    columns = {"features": ("length", "width"), "label": "kind", "classes": 2, "low": 0, "high": 8}
    return {"file": str(path), "form": path.suffix[1:], **columns, **more}


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_conformance_and_rows(form, tmp_path):
    params = given(write(tmp_path, form))
    check_dataset("hf_table", params=params)
    part = HfTable(**params).split("test", Context(scope="test"))
    kept = ROWS[::5]
    np.testing.assert_array_equal(part.inputs, np.array([[r["length"], r["width"]] for r in kept], dtype=np.float32))
    np.testing.assert_array_equal(part.targets, [r["kind"] for r in kept])


def test_what_is_wrong_is_said(tmp_path):
    path, ctx = write(tmp_path, "csv"), Context(scope="test")
    with pytest.raises(InvalidInput, match="its columns are length, width, kind"):
        HfTable(**given(path, label="species")).split("train", ctx)
    with pytest.raises(InvalidInput, match="labels must be from 0 to 0"):
        HfTable(**given(path, classes=1)).split("train", ctx)
    with pytest.raises(InvalidInput, match="is missing"):
        HfTable(**given(tmp_path / "none.csv")).split("train", ctx)
    path.write_bytes(b"\x80\x04\x95")
    with pytest.raises(InvalidInput, match="cannot be read as csv"):
        HfTable(**given(path)).split("train", ctx)
