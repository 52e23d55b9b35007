# SPDX-License-Identifier: Apache-2.0
"""A user's own networks: exported programs that cannot run code, and imported functions with strict weights."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lipbench_basics.networks.exported import Exported
from lipbench_basics.networks.imported import Imported
from safetensors.torch import save_file
from torch import Tensor, nn

from lipbench.api import Context, DataSpec, FunctionName, InvalidInput
from lipbench.plugins import PluginOptions, load_plugins

CTX = Context(scope="test")
SPEC = DataSpec(shape=(3, 6, 6), low=0, high=1)
BATCH = torch.export.Dim("batch", min=1, max=64)


class Net(nn.Module):
    """Convolution, normalisation, a buffer, a constant and a size that depends on the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Linear(16, 5)
        self.register_buffer("scale", torch.arange(5.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.gelu(self.norm(self.conv(x)), approximate="tanh")
        return self.head(y.view(x.shape[0], -1)) * self.scale + torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])


def make_net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().eval()


def export(net: nn.Module, path: Path, *inputs: Tensor, dynamic: bool = True) -> Path:
    shapes = tuple({0: BATCH} for _ in inputs) if dynamic else None
    torch.export.save(torch.export.export(net, inputs, dynamic_shapes=shapes), path)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(make_net(), tmp_path_factory.mktemp("exported") / "net.pt2", torch.rand(2, 3, 6, 6))


def module_of(path: Path, spec: DataSpec = SPEC) -> nn.Module:
    network = Exported(path=str(path))
    network.build(spec, CTX)
    return network.module


def tampered(source: Path, target: Path, changes: Mapping[str, Callable[[bytes], bytes]], **added: bytes) -> Path:
    """A copy of an archive with some members changed and others added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        top = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            change = changes.get(name.partition("/")[2], bytes)
            new.writestr(name, change(old.read(name)))
        for name, content in added.items():
            new.writestr(f"{top}/{name}", content)
    return target


def in_graph(change: Callable[[Any], None]) -> dict[str, Callable[[bytes], bytes]]:
    """A change of the parsed graph."""

    def apply(content: bytes) -> bytes:
        parsed = json.loads(content)
        change(parsed)
        return json.dumps(parsed).encode()

    return {"models/model.json": apply}


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled_trap(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save((Trap(path),), buffer)
    return buffer.getvalue()


def expression_trap(path: Path) -> dict[str, Callable[[bytes], bytes]]:
    code = f"__import__('pathlib').Path({str(path)!r}).touch() or 2"

    def change(graph: Any) -> None:
        values = graph["graph_module"]["graph"]["tensor_values"]
        batch = next(v["sizes"][0] for v in values.values() if v["sizes"] and "as_expr" in v["sizes"][0])
        batch["as_expr"]["expr_str"] = code

    return in_graph(change)


def test_an_exported_network_is_the_same_function(program: Path) -> None:
    net, loaded = make_net(), module_of(program)
    x = torch.rand(7, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded(x), net(x))
    assert torch.equal(loaded(x[:1]), net(x[:1]))
    assert not any(p.requires_grad for p in loaded.parameters())
    assert Exported(path=str(program)).files() == [program]


# Forward mode compiles its helpers on first use, in a way that torch itself calls outdated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_an_exported_network_can_be_copied_cast_and_differentiated(program: Path) -> None:
    double = copy.deepcopy(module_of(program)).eval().to(torch.float64)
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert double(x).dtype == torch.float64
    found = torch.func.jvp(double, (x,), (torch.ones_like(x),))[1]
    expected = torch.func.jvp(make_net().double(), (x,), (torch.ones_like(x),))[1]
    assert torch.allclose(found, expected, rtol=1e-12)


def test_a_path_is_looked_up_in_the_data_folder(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPBENCH_DATA", str(program.parent))
    assert module_of(Path("net.pt2"))(torch.zeros(1, 3, 6, 6)).shape == (1, 5)
    with pytest.raises(InvalidInput, match=r"no file .*other\.pt2 and .*other\.pt2; mend path:"):
        Exported(path="other.pt2").files()


def test_the_traps_of_these_tests_do_fire_in_torch(program: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    file = tampered(program, tmp_path / "a.pt2", {"data/sample_inputs/model.pt": lambda _: pickled_trap(sprung)})
    with contextlib.suppress(Exception):
        torch.export.load(file)
    assert sprung.exists()
    sprung.unlink()
    with contextlib.suppress(Exception):
        torch.export.load(tampered(program, tmp_path / "b.pt2", expression_trap(sprung)))
    assert sprung.exists()


def test_pickled_sample_inputs_are_left_out(program: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    file = tampered(program, tmp_path / "a.pt2", {"data/sample_inputs/model.pt": lambda _: pickled_trap(sprung)})
    assert module_of(file)(torch.zeros(1, 3, 6, 6)).shape == (1, 5)
    assert not sprung.exists()


def test_code_in_a_symbolic_size_is_refused(program: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    with pytest.raises(InvalidInput, match=r"expr_str .*not known to be harmless"):
        module_of(tampered(program, tmp_path / "a.pt2", expression_trap(sprung)))
    assert not sprung.exists()


@pytest.mark.parametrize("table", ["weights", "constants"])
def test_pickled_tensors_are_refused(program: Path, tmp_path: Path, table: str) -> None:
    sprung = tmp_path / "sprung"

    def change(content: bytes) -> bytes:
        parsed = json.loads(content)
        next(iter(parsed["config"].values()))["use_pickle"] = True
        return json.dumps(parsed).encode()

    first = "weight_0" if table == "weights" else "tensor_0"
    changes = {
        f"data/{table}/model_{table}_config.json": change,
        f"data/{table}/{first}": lambda _: pickled_trap(sprung),
    }
    with pytest.raises(InvalidInput, match="as a Python object, which could run code"):
        module_of(tampered(program, tmp_path / "a.pt2", changes))
    assert not sprung.exists()


@pytest.mark.parametrize("prefix", ["custom_obj_0", "opaque_obj_0", "../weight_0"])
def test_other_payloads_are_refused(program: Path, tmp_path: Path, prefix: str) -> None:
    def change(content: bytes) -> bytes:
        parsed = json.loads(content)
        next(iter(parsed["config"].values()))["path_name"] = prefix
        return json.dumps(parsed).encode()

    changes = {"data/constants/model_constants_config.json": change}
    with pytest.raises(InvalidInput, match=r"could run code|not known to be harmless"):
        module_of(tampered(program, tmp_path / "a.pt2", changes))


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.relu.default.__class__",
        "torch.ops.aten.__init__.default",
        "torch.ops.mylib.run.default",
        "torch.ops.higher_order.cond",
        "_operator.methodcaller",
        "#extension",
    ],
)
def test_operators_outside_the_list_are_refused(program: Path, tmp_path: Path, target: str) -> None:
    def change(graph: Any) -> None:
        graph["graph_module"]["graph"]["nodes"][-1]["target"] = target

    with pytest.raises(InvalidInput, match="uses the operator"):
        module_of(tampered(program, tmp_path / "a.pt2", in_graph(change)))


def test_names_cannot_carry_code(program: Path, tmp_path: Path) -> None:
    def change(graph: Any) -> None:
        graph["graph_module"]["graph"]["nodes"][-1]["name"] = "x = 1\n    import os"

    with pytest.raises(InvalidInput, match="uses the name"):
        module_of(tampered(program, tmp_path / "a.pt2", in_graph(change)))


def test_tree_specifications_cannot_import(program: Path, tmp_path: Path) -> None:
    def change(graph: Any) -> None:
        signature = graph["graph_module"]["module_call_graph"][0]["signature"]
        signature["in_spec"] = signature["in_spec"].replace("builtins.dict", "collections.defaultdict")

    with pytest.raises(InvalidInput, match="uses the in_spec"):
        module_of(tampered(program, tmp_path / "a.pt2", in_graph(change)))


def test_guards_and_notes_are_left_out(program: Path, tmp_path: Path) -> None:
    def change(graph: Any) -> None:
        graph["guards_code"] = ["__import__('os').abort()"]
        graph["graph_module"]["graph"]["nodes"][0]["metadata"] = {"stack_trace": "(){}", "nn_module_stack": "a;b"}

    loaded = module_of(tampered(program, tmp_path / "a.pt2", in_graph(change)))
    assert loaded(torch.zeros(1, 3, 6, 6)).shape == (1, 5)


def test_compiled_code_is_refused(program: Path, tmp_path: Path) -> None:
    file = tampered(program, tmp_path / "a.pt2", {}, **{"data/aotinductor/model/x.so": b"\x7fELF"})
    with pytest.raises(InvalidInput, match="more than one exported program"):
        module_of(file)


@pytest.mark.parametrize("content", ["nothing", "words", "half", "torch.save", "no json"])
def test_what_is_no_exported_program_is_refused_in_one_line(program: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.pt2"
    if content == "torch.save":
        torch.save({"weight": torch.zeros(2)}, file)
    elif content == "no json":
        tampered(program, file, {"models/model.json": lambda _: b"{"})
    else:
        whole = program.read_bytes()
        file.write_bytes({"nothing": b"", "words": b"hello", "half": whole[: len(whole) // 2]}[content])
    with pytest.raises(InvalidInput, match=r"no torch.export archive|no file of torch.export.save|is damaged") as caught:
        module_of(file)
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_is_named(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.pt2"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            if not name.endswith("weights/weight_1"):
                new.writestr(name, old.read(name))
    with pytest.raises(InvalidInput, match="weight_1 is missing"):
        module_of(file)


def test_programs_of_another_form_are_refused(program: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"takes inputs of shape \(3, 6, 6\), the data has \(3, 8, 8\)"):
        module_of(program, DataSpec(shape=(3, 8, 8), low=0, high=1))
    fixed = export(nn.Linear(4, 2), tmp_path / "fixed.pt2", torch.rand(2, 4), dynamic=False)
    with pytest.raises(InvalidInput, match="has a fixed batch; export it with dynamic_shapes"):
        module_of(fixed, DataSpec(shape=(4,), low=0, high=1))
    two = export(nn.Bilinear(4, 4, 2), tmp_path / "two.pt2", torch.rand(2, 4), torch.rand(2, 4))
    with pytest.raises(InvalidInput, match="takes 2 inputs"):
        module_of(two, DataSpec(shape=(4,), low=0, high=1))


MODULE = """
import torch
from torch import nn
from torch.nn import Linear

def make(width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))

def scalar():
    return nn.Flatten(0)

answer = 42

def words():
    return "no module"
"""
FLAT = DataSpec(shape=(4,), low=0, high=1)


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "nets_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_of_a_user", raising=False)
    load_plugins(PluginOptions(extra=("nets_of_a_user",)))
    return "nets_of_a_user"


def test_an_imported_network_gets_its_weights(factory: str, tmp_path: Path) -> None:
    source = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    network = Imported(factory=FunctionName(f"{factory}:make"), weights=str(tmp_path / "w.safetensors"), kwargs={"width": 6})
    network.build(FLAT, CTX)
    x = torch.rand(3, 4)
    assert torch.equal(network.module(x), source(x))
    assert network.at("embedding")(x).shape == (3, 6)
    assert network.files() == [tmp_path / "nets_of_a_user.py", tmp_path / "w.safetensors"]


def test_an_imported_network_without_weights_follows_the_seed(factory: str) -> None:
    states = []
    for seed in (0, 0, 1):
        network = Imported(factory=FunctionName(f"{factory}:make"))
        network.build(FLAT, Context(scope="test", seed=seed))
        states.append(network.state()["1.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"1.weight": torch.zeros(3, 4)}, r"missing \['1.bias', '3.bias', '3.weight'\], unknown \[\]"),
        ({**nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.Linear(2, 2)).state_dict()}, "unknown"),
        (
            {**nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).state_dict()},
            r"shape \(5, 4\), .*\(3, 4\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(factory: str, tmp_path: Path, state: dict[str, Tensor], message: str) -> None:
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InvalidInput, match=message):
        Imported(factory=FunctionName(f"{factory}:make"), weights=str(tmp_path / "w.safetensors")).build(FLAT, CTX)


def test_a_file_that_is_no_safetensors_is_refused(factory: str, tmp_path: Path) -> None:
    torch.save({"1.weight": torch.zeros(3, 4)}, tmp_path / "w.safetensors")
    with pytest.raises(InvalidInput, match="no safetensors file, or it is truncated"):
        Imported(factory=FunctionName(f"{factory}:make"), weights=str(tmp_path / "w.safetensors")).build(FLAT, CTX)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here:make", "no active plugin has the module 'no_such_module_here'"),
        ("lipbench_basics.no_such_module:make", "cannot be imported: No module named"),
        ("nets_of_a_user:torch.load", "'torch' is a module"),
        ("nets_of_a_user:Linear", r"comes from torch.nn.modules.linear, which no active plugin has"),
        ("nets_of_a_user:nothing", "cannot be imported: .*nothing"),
        ("nets_of_a_user:answer", "is a int, not a function or class"),
        ("nets_of_a_user:words", "gave a str, a torch.nn.Module is needed"),
        ("nets_of_a_user:scalar", r"for B inputs of shape \(4,\); for B = 2 it gave \(8,\)"),
    ],
)
def test_a_wrong_function_is_refused(factory: str, name: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Imported(factory=FunctionName(name)).build(FLAT, CTX)


def test_inputs_that_the_network_does_not_take_are_refused(factory: str) -> None:
    with pytest.raises(InvalidInput, match=r"does not take inputs of shape \(5,\)"):
        Imported(factory=FunctionName(f"{factory}:make")).build(DataSpec(shape=(5,), low=0, high=1), CTX)
