"""What a user types is checked before anything is started."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines import arguments, local
from pipelines.compile import COMPILED
from pipelines.load import parameters
from silhouette.errors import InputError, ServiceError

KNOWN = parameters(COMPILED / "training.yaml")


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({"group": "summer test"}, {"group": "summer test"}),
        ({"epochs": "3", "seed": "1"}, {"epochs": 3, "seed": 1}),
        ({"learning_rate": "0.01"}, {"learning_rate": 0.01}),
        ({"learning_rate": "1"}, {"learning_rate": 1.0}),  # kfp takes no 1 for 1.0
        ({"gpu_node_selector": '{"pool": "a"}'}, {"gpu_node_selector": {"pool": "a"}}),
    ],
)
def test_arguments_become_typed(pairs: dict[str, str], expected: dict[str, Any]) -> None:
    found = arguments.parse_arguments(pairs, KNOWN)
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


def test_unknown_parameter_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match=r"got 'epoch'; did you mean epochs"):
        arguments.parse_arguments({"epoch": "3"}, KNOWN)


@pytest.mark.parametrize(("name", "text"), [("epochs", "many"), ("epochs", "1.5"), ("epochs", "true"), ("gpus", "")])
def test_value_of_the_wrong_type_is_refused(name: str, text: str) -> None:
    with pytest.raises(InputError, match=rf"{name} must be a number_integer, got '{text}'"):
        arguments.parse_arguments({name: text}, KNOWN)


def test_stale_pipeline_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.compiler, "stale_pipelines", lambda names: ["training.yaml"])
    with pytest.raises(InputError, match="run `make compile`"):
        local.run({}, state_dir=tmp_path, console=Console())
    assert not any(tmp_path.iterdir())


def test_second_run_is_told_that_one_is_going_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LOCK_WAIT_S", 0.1)
    with local.one_run_at_a_time(tmp_path), pytest.raises(ServiceError, match="one run at a time"):
        with local.one_run_at_a_time(tmp_path):
            pass


def test_configuration_overlay_becomes_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = tmp_path / "my.yaml"
    overlay.write_text("training: {epochs: 2}\ngate: {min_macro_f1: 0.9}\n")
    monkeypatch.delenv("SILHOUETTE_CONFIG", raising=False)
    assert arguments.overlay_arguments(KNOWN) == {}
    monkeypatch.setenv("SILHOUETTE_CONFIG", str(overlay))
    found = arguments.overlay_arguments(KNOWN)
    assert (found["epochs"], found["min_macro_f1"]) == (2, 0.9)
    overlay.write_text("gate: {min_macro_f1: null}\n")
    assert set(found) <= set(KNOWN)
    assert arguments.overlay_arguments(KNOWN)["min_macro_f1"] == 0.0, "a parameter cannot be null; 0 refuses nobody"
    assert arguments.overlay_arguments({"model_path": {}}).keys() == {"model_path"}
