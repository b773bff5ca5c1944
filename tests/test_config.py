"""The shipped configuration is valid; what is wrong is said as rule, value, way out."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from silhouette import config
from silhouette.config import load_config
from silhouette.config_file import add_group
from silhouette.errors import InputError, SettingError

SHIPPED = Path(__file__).resolve().parents[1] / "config" / "default.yaml"


def load_over(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config({"SILHOUETTE_CONFIG": str(path)})


def test_shipped_configuration_is_valid() -> None:
    assert load_config({}).groups


def test_shipped_configuration_holds_no_place_and_no_secret() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", re.sub(r"#.*", "", text)))
    assert "://" not in re.sub(r"#.*", "", text)
    assert not words & {"endpoint", "host", "port", "url", "bucket", "token", "password", "secret", "dsn"}


def test_package_carries_the_same_configuration_as_the_checkout() -> None:
    project = SHIPPED.parents[1] / "pyproject.toml"
    assert '"config/default.yaml" = "silhouette/default.yaml"' in project.read_text(encoding="utf-8")


def test_configuration_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config({}).training.epochs = 3  # type: ignore[misc]


def test_own_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    mine = load_over(tmp_path, "training: {epochs: 3}\n")
    shipped = load_config({})
    assert mine.training.epochs == 3
    assert mine.training.model_copy(update={"epochs": shipped.training.epochs}) == shipped.training
    assert mine.dataset == shipped.dataset


@pytest.mark.parametrize("group", ["summer test", "лето/пляж", "it's $HOME", "..", ""])
def test_own_file_adds_a_group_of_any_name_in_the_order_of_its_classes(tmp_path: Path, group: str) -> None:
    text = yaml.safe_dump({"groups": {group: {"classes": ["z", "a", "м"]}}}, allow_unicode=True)
    mine = load_over(tmp_path, text)
    assert mine.groups[group].classes == ["z", "a", "м"]
    assert set(load_config({}).groups) < set(mine.groups)


WRONG = {
    "unknown section": (
        "trainings: {epochs: 3}",
        "trainings",
        "there is no such key",
        "{'epochs': 3}; do you mean training?",
    ),
    "unknown key": ("training: {epoch: 3}", "training.epoch", "there is no such key", "3; do you mean epochs?"),
    "unknown key of a group": (
        "groups: {g: {classes: [a, b], clases: 1}}",
        "groups.g.clases",
        "there is no such key",
        "1; do you mean classes?",
    ),
    "unknown key like no other": ("gate: {xyz: 3}", "gate.xyz", "there is no such key", "3"),
    "model that is two": (
        "models: {g: {triton: a, onnx: b}}",
        "models.g",
        "a model must be served by Triton or be an ONNX file, not both",
        "{'triton': 'a', 'onnx': 'b'}",
    ),
    "evaluation of a served model": (
        "models: {g: {evaluation: a}}",
        "models.g",
        "evaluation must come with onnx",
        "{'evaluation': 'a'}",
    ),
    "threshold above 1": ("models: {g: {abstain_below: 2}}", "models.g.abstain_below", "less than or equal to 1", "2"),
    "too small": ("training: {epochs: 0}", "training.epochs", "greater than or equal to 1", "0"),
    "not a number": ("training: {epochs: many}", "training.epochs", "valid integer", "'many'"),
    "not finite": ("training: {learning_rate: .inf}", "training.learning_rate", "finite number", "inf"),
    "not a fraction": ("dataset: {val_fraction: 1.5}", "dataset.val_fraction", "less than 1", "1.5"),
    "fractions that leave nothing": (
        "dataset: {val_fraction: 0.5, test_fraction: 0.6}",
        "dataset.test_fraction",
        "val_fraction and test_fraction together must be below 1",
        "0.6",
    ),
    "not one of the words": ("dataset: {people: some}", "dataset.people", "'main' or 'all'", "'some'"),
    "size no multiple": ("segmentation: {image_size: 650}", "segmentation.image_size", "multiple of 32", "650"),
    "section that is none": ("pictures: 3", "pictures", "valid dictionary", "3"),
    "section without content": ("gate:", "gate", "valid dictionary", "None"),
    "single class": ("groups: {g: {classes: [a]}}", "groups.g.classes", "at least 2 items", "['a']"),
    "class twice": ("groups: {g: {classes: [a, a]}}", "groups.g.classes", "a name of its own", "['a', 'a']"),
    "class without a name": ("groups: {g: {classes: [a, ' ']}}", "groups.g.classes", "a name of its own", "['a', ' ']"),
    "class that is a boolean": ("groups: {g: {classes: [yes, no]}}", "groups.g.classes.0", "valid string", "True"),
}


@pytest.mark.parametrize(("text", "where", "rule", "value"), WRONG.values(), ids=WRONG.keys())
def test_wrong_entry_is_named_with_rule_value_and_way_out(
    tmp_path: Path, text: str, where: str, rule: str, value: str
) -> None:
    with pytest.raises(SettingError) as caught:
        load_over(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{where} in the configuration: ")
    assert rule in message
    assert re.search(rf", got {re.escape(value)}[ ;] ?[Cc]orrect it in {tmp_path / 'mine.yaml'}, line 1", message)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: [", "the configuration must be YAML in UTF-8, got while parsing"),
        ("- 1\n", "the configuration must be a mapping, got list in"),
        ("", "the configuration must be a mapping, got NoneType in"),
    ],
)
def test_file_that_is_no_mapping_is_refused_in_one_line(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(SettingError, match=f"^{re.escape(rule)}.*; correct that file$"):
        load_over(tmp_path, text)


def test_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"groups: {\xff: 1}")
    with pytest.raises(SettingError, match=r"must be YAML in UTF-8, got 'utf-8' codec.*; correct that file$"):
        load_config({"SILHOUETTE_CONFIG": str(tmp_path / "mine.yaml")})


def test_missing_file_is_named_with_the_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"must exist, got .*absent\.yaml; correct SILHOUETTE_CONFIG"):
        load_config({"SILHOUETTE_CONFIG": str(tmp_path / "absent.yaml")})


def test_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"must be readable, got Is a directory for .*; correct SILHOUETTE_CONFIG"):
        load_config({"SILHOUETTE_CONFIG": str(tmp_path)})


def test_a_mistake_is_told_with_its_line_and_all_of_them_are_counted(tmp_path: Path) -> None:
    text = (
        "# mine\ntraining:\n  epochs: 3\n  batch_size: none\n  seed: x\ngroups:\n  g:\n    classes:\n    - a\n    - 1\n"
    )
    with pytest.raises(SettingError, match=r"mine\.yaml, line \d+ \(and 2 more: `silhouette config check`\)$"):
        load_over(tmp_path, text)
    found = config.mistakes(config.read_layers({"SILHOUETTE_CONFIG": str(tmp_path / "mine.yaml")}))
    places = {line.split(" ")[0]: line.rsplit(" ", 1)[1] for line in found}
    assert places == {"training.batch_size": "4", "training.seed": "5", "groups.g.classes.1": "10"}


def test_a_key_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"training\.epochs .* once, got it again in line 3 after line 2"):
        load_over(tmp_path, "training:\n  epochs: 3\n  epochs: 4\n")


def test_later_files_lie_over_earlier_ones_and_variables_over_all(tmp_path: Path) -> None:
    for name, text in (("a", "training: {epochs: 3, seed: 1}"), ("b", "training: {epochs: 4}")):
        (tmp_path / f"{name}.yaml").write_text(text)
    environ = {"SILHOUETTE_CONFIG": f"{tmp_path / 'a.yaml'}:{tmp_path / 'b.yaml'}"}
    assert (load_config(environ).training.epochs, load_config(environ).training.seed) == (4, 1)
    environ["SILHOUETTE_CONFIG__TRAINING__EPOCHS"] = "5"
    environ["SILHOUETTE_CONFIG__TRAINING__BACKBONE"] = "resnet18"
    assert (load_config(environ).training.epochs, load_config(environ).training.backbone) == (5, "resnet18")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TRAINING__EPOCHS", "0", r"training\.epochs .* got 0; correct it in SILHOUETTE_CONFIG__TRAINING__EPOCHS$"),
        ("TRAINING__EPOCH", "3", r"do you mean epochs\? Correct it in SILHOUETTE_CONFIG__TRAINING__EPOCH$"),
        ("TRAINING__EPOCHS", "[", r"SILHOUETTE_CONFIG__TRAINING__EPOCHS must be a value in YAML"),
    ],
)
def test_a_variable_that_is_wrong_is_named(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        load_config({f"SILHOUETTE_CONFIG__{name}": value})


LAYOUTS = {
    "comments and other sections": "# mine\ngroups:\n    a:   # one\n        classes: [x, y]\n\n# below\ngate: {}\n",
    "groups at the end": "groups:\n  a:\n    classes:\n    - x\n    - y\n",
    "no line end": "groups:\n  a: {classes: [x, y]}",
    "no groups yet": "training: {epochs: 3}\n",
    "an empty file": "",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("name", ["summer test", "лето: #1", 'it\'s "so"', "- a", "1"])
def test_an_added_group_leaves_the_rest_of_the_file_as_it_was(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    add_group(path, name=name, classes=["yes", "no", "м"])
    written = path.read_text(encoding="utf-8")
    mine = load_config({"SILHOUETTE_CONFIG": str(path)})
    assert mine.groups[name].classes == ["yes", "no", "м"]
    assert [line for line in text.splitlines() if line not in written.splitlines()] == []
    assert written.count("#") - name.count("#") == text.count("#")
    with pytest.raises(InputError, match="must be new"):
        add_group(path, name=name, classes=["a", "b"])


def test_a_file_that_is_laid_out_otherwise_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("groups: {a: {classes: [x, y]}}\n")
    with pytest.raises(InputError, match="must stand one a line"):
        add_group(path, name="b", classes=["x", "y"])
    assert path.read_text() == "groups: {a: {classes: [x, y]}}\n"


class TestForRun:
    def test_lays_parameters_over_the_recipe_and_the_gate(self) -> None:
        run = load_config({}).for_run(training={"epochs": 2}, gate={"min_macro_f1": 0.9}, gpus=0)
        assert (run.training.epochs, run.gate.min_macro_f1) == (2, 0.9)

    @pytest.mark.parametrize(("gpus", "expected"), [(0, config.CPU_BACKBONE), (1, config.GPU_BACKBONE)])
    def test_resolves_the_automatic_backbone_by_the_device(self, gpus: int, expected: str) -> None:
        run = load_config({}).for_run(training={"backbone": "auto"}, gate={}, gpus=gpus)
        assert run.training.backbone == expected

    def test_leaves_a_named_backbone_alone(self) -> None:
        run = load_config({}).for_run(training={"backbone": "resnet18"}, gate={}, gpus=1)
        assert run.training.backbone == "resnet18"

    def test_refuses_a_value_out_of_range_with_the_way_out(self) -> None:
        with pytest.raises(SettingError, match=r"gate\.min_macro_f1 .* got 2; correct it in the run's parameters"):
            load_config({}).for_run(training={}, gate={"min_macro_f1": 2}, gpus=0)

    @pytest.mark.parametrize("devices", ["auto", 1, 4])
    def test_takes_auto_or_a_number_of_devices(self, devices: object) -> None:
        assert load_config({}).for_run(training={"devices": devices}, gate={}, gpus=0).training.devices == devices

    @pytest.mark.parametrize("devices", ["all", "2", 0, -1, 1.5, True, None])
    def test_refuses_what_is_no_number_of_devices(self, devices: object) -> None:
        with pytest.raises(SettingError, match=r"^training\.devices in the configuration: it must be auto or a number"):
            load_config({}).for_run(training={"devices": devices}, gate={}, gpus=0)

    def test_survives_the_trip_through_a_pipeline_parameter(self) -> None:
        training = load_config({}).for_run(training={}, gate={}, gpus=0).training
        assert config.TrainingConfig.model_validate_json(training.model_dump_json()) == training


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["groups", "training", "gate", "dataset", "pictures", "x"]), values))
def test_no_content_ends_in_anything_but_a_configuration_or_a_setting_error(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("config") / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        assert isinstance(load_config({"SILHOUETTE_CONFIG": str(path)}), config.Config)
    except SettingError as error:
        assert "orrect it in " in str(error)  # noqa: PT017 - most contents are refused, some are not


@pytest.mark.parametrize("rule", config.GateConfig.model_fields)
def test_every_rule_of_the_gate_is_switched_off_by_null(tmp_path: Path, rule: str) -> None:
    assert getattr(load_over(tmp_path, f"gate: {{{rule}: null}}").gate, rule) is None


def test_who_names_no_export_settings_gets_the_shipped_ones() -> None:
    assert config.ExportConfig() == load_config({}).export


@pytest.mark.parametrize("text", ["opset: 17", "variants: [fp8]", "largest_batch: 1", "max_megabytes: 0"])
def test_export_settings_that_no_release_can_have_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingError, match=r"export\."):
        load_over(tmp_path, f"export: {{{text}}}")
