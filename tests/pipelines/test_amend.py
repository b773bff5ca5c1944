"""What KFP's compiler leaves out is put in, and nothing else is touched."""

import copy
import tempfile
from pathlib import Path
from typing import Any, get_args

import pytest
from kfp import compiler, dsl

from pipelines import amend
from pipelines.amend import add_literals, hand_down
from pipelines.compile import COMPILED, PIPELINES
from pipelines.load import parameters, read_documents
from silhouette.database.reviews import Status


@dsl.component(base_image="silhouette/cpu:1", install_kfp_package=False)
def work(number: int) -> None:
    """Use nothing of the pipeline."""


@dsl.pipeline(name="inner")  # type: ignore[untyped-decorator]
def inner(numbers: list, gpus: int) -> None:  # type: ignore[type-arg]
    """Ask for a parameter's number of GPUs inside a loop, and use it nowhere else."""
    with dsl.ParallelFor(items=numbers) as number:
        work(number=number).set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(gpus)


@dsl.pipeline(name="forgetful")  # type: ignore[untyped-decorator]
def forgetful(numbers: list, gpus: int = 1) -> None:  # type: ignore[type-arg]
    """Hand the parameter to a pipeline inside."""
    inner(numbers=numbers, gpus=gpus)


@pytest.fixture
def spec() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forgetful.yaml"
        compiler.Compiler().compile(forgetful, str(path))
        return read_documents(path)[0]


def test_forgotten_parameter_reaches_the_step_through_every_level(spec: dict[str, Any]) -> None:
    assert list(amend._missing(spec))  # or KFP has learnt it, and this module can go
    hand_down(spec)
    assert not list(amend._missing(spec))
    name = "pipelinechannel--gpus"
    loops = [key for key in spec["components"] if key.startswith("comp-for-loop")]
    inside = [spec["components"][key]["inputDefinitions"]["parameters"] for key in loops]
    assert inside
    assert all(given[name] == {"parameterType": "NUMBER_INTEGER"} for given in inside)


def test_complete_pipeline_is_left_as_it_is(spec: dict[str, Any]) -> None:
    hand_down(spec)
    once = copy.deepcopy(spec)
    hand_down(spec)
    assert spec == once


def test_choices_stand_at_the_parameters_that_have_them(spec: dict[str, Any]) -> None:
    add_literals(spec)
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["gpus"]["literals"] == [0, 1, 2, 4, 8]
    assert "literals" not in parameters["numbers"]


def test_states_of_a_review_can_be_chosen_in_every_combination() -> None:
    assert get_args(Status) == amend.STATES
    offered = [frozenset(choice.split(",")) for choice in parameters(COMPILED / "markup.yaml")["states"]["literals"]]
    assert len(set(offered)) == len(offered) == 2 ** len(amend.STATES) - 1


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_reports_whatever_happens(name: str) -> None:
    root = read_documents(COMPILED / f"{name}.yaml")[0]["root"]["dag"]["tasks"]
    assert sorted(root) == ["exit-handler-1", "report-run"]  # nothing stands outside the handler
    report = root["report-run"]
    assert report["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert report["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}
    assert not report["cachingOptions"]
    assert report["inputs"]["parameters"]["pipeline"] == {"runtimeValue": {"constant": name}}
