"""Documents are made of what the steps before found, once while nothing changes, never of what must not be used."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silhouette import imaging
from silhouette.build_ret_meta.build import build_ret_meta
from silhouette.build_ret_meta.tally import BuildRetMetaReport
from silhouette.config import Config, GroupConfig, ModelConfig
from silhouette.contracts import contours, ret_meta
from silhouette.contracts.ret_meta import Correction
from silhouette.database import badlist
from silhouette.errors import InputError
from tests.ret_meta_world import GROUP, SEGMENTER, World, config_of

Build = Callable[..., BuildRetMetaReport]


@pytest.fixture
def build(world: World) -> Build:
    """Build with one model of the group in a file, unless a test has others."""
    config = config_of(summer_test=world.model())

    def run(*groups: str, config: Config = config, **options: Any) -> BuildRetMetaReport:
        return build_ret_meta(groups=groups or [GROUP], config=config, **{**world.tools, **options})

    return run


def rows_of(world: World) -> dict[str, dict[str, str]]:
    with (world.folder / "out" / "documents.csv").open(newline="", encoding="utf-8") as file:
        return {row["picture_id"]: row for row in csv.DictReader(file)}


def keys(world: World) -> set[str]:
    return {key for key in world.store.list_keys("ret_meta/") if "/runs/" not in key}


def modified(world: World) -> dict[str, Any]:
    return {
        item.object_name: item.last_modified
        for item in world.store._client.list_objects(world.store.bucket, prefix="ret_meta/", recursive=True)
        if "/runs/" not in item.object_name
    }


def test_a_document_tells_people_predictions_and_provenance(world: World, build: Build) -> None:
    row = world.add("p1", "green", [("red", 40, 0.5), ("green", 110, 1.0)], status="approved")
    world.write()
    other = world.model(group="other", strength=2.0, size=48)
    report = build(config=config_of(summer_test=world.model(), other=other))
    assert (report.new, report.people, report.pictures) == (1, 2, 1)
    found = world.document("p1")
    assert found.picture.model_dump() == {"picture_id": "p1", "sha256": row.sha256, "width": 160, "height": 120}
    assert found.segmentation.model_dump() == {"model_digest": SEGMENTER, "review_status": "approved"}
    assert [person.main for person in found.people] == [False, True]
    assert [person.predictions[GROUP].label for person in found.people] == ["red", "green"]
    assert [person.predictions["other"].label for person in found.people] == ["red", "green"]
    weak, strong = (found.people[1].predictions[name].probability for name in ("other", GROUP))
    assert weak < strong
    for person in found.people:
        assert person.box_xyxy == tuple(map(float, contours.box(person.outline())))
    assert found.models[GROUP].gate == "passed"
    assert found.made.datasets == {
        GROUP: json.loads((world.folder / "out" / "manifest.json").read_text())["datasets"][GROUP]
    }
    assert "/" not in "".join(found.made.answered_by.values()), "no place of this machine leaves the house"
    for name in ("manifest.json", "documents.csv"):
        assert world.store.get_bytes(f"{report.key}/{name}") == (world.folder / "out" / name).read_bytes()


def test_a_picture_without_people_has_a_document_without_people(world: World, build: Build) -> None:
    world.add("empty", "red", [])
    world.add("verified", "red", [("red", 80, 1.0)], status="nobody")
    world.write()
    build()
    assert (world.document("empty").people, world.document("verified").people) == ([], [])
    assert world.document("verified").segmentation.review_status == "nobody"


def test_a_model_abstains_below_its_threshold(world: World, build: Build) -> None:
    world.add("p1", "red")
    world.write()
    model = world.model().model_copy(update={"abstain_below": 0.99})
    build(config=config_of(summer_test=model))
    prediction = world.document("p1").people[0].predictions[GROUP]
    assert prediction.label is None
    assert prediction.probability == max(prediction.probabilities) < 0.99


def test_many_people_and_pictures_are_answered_each_for_itself(world: World, build: Build) -> None:
    colours = ("red", "green", "blue")
    for number in range(40):
        people = [(colours[(number + each) % 3], 30 + 45 * each, 0.4) for each in range(number % 4)]
        world.add(f"p{number:02d}", "red", people)
    world.write()
    report = build(config=config_of(summer_test=world.model(), other=world.model(group="other", strength=3.0, size=48)))
    assert (report.new, report.people) == (40, 60)
    for number in range(40):
        found = [person.predictions for person in world.document(f"p{number:02d}").people]
        expected = [colours[(number + each) % 3] for each in range(number % 4)]
        assert [each[GROUP].label for each in found] == expected
        assert [each["other"].label for each in found] == expected
    assert list(rows_of(world)) == [f"p{number:02d}" for number in range(40)]


def test_unchanged_documents_are_neither_decoded_nor_written(
    world: World, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        world.add(f"p{number}", "red")
    world.write()
    assert build().new == 5
    before = modified(world)
    monkeypatch.setattr("silhouette.working_copy.open_picture", lambda _: pytest.fail("a picture was decoded"))
    again = build()
    assert (again.unchanged, again.new, again.changed) == (5, 0, 0)
    assert modified(world) == before


def test_only_what_changed_is_made_again(world: World, build: Build) -> None:
    rows = [world.add(f"p{number}", "red") for number in range(3)]
    world.write()
    build()
    world.decide(rows[1], "approved")
    report = build()
    assert (report.unchanged, report.changed) == (2, 1)
    assert rows_of(world)["p1"]["outcome"] == "changed"
    assert world.document("p1").segmentation.review_status == "approved"
    world.add("p9", "red")
    world.write()  # another dataset: the documents that are there do not change by it
    report = build()
    assert (report.unchanged, report.new) == (3, 1)


def test_where_a_person_drew_the_document_names_that_person_and_no_model(world: World, build: Build) -> None:
    drawn, kept = world.add("p0", "red"), world.add("p1", "red")
    world.write()
    build()
    digest = world.draw(drawn, "Анна", [("red", 60, 1.0), ("red", 120, 0.5)])
    report = build()
    assert (report.changed, report.unchanged) == (1, 1)
    found = world.document("p0")
    assert found.segmentation == Correction(author="Анна", correction_digest=digest, review_status="approved")
    assert (found.schema_version, [person.score for person in found.people]) == (2, [1.0, 1.0])
    other = world.document(kept.picture_id)
    assert (other.schema_version, other.segmentation) == (
        1, ret_meta.Segmentation(model_digest=SEGMENTER, review_status="unchecked"),
    )  # fmt: skip
    assert build().unchanged == 2
    world.draw(drawn, "boris", [("red", 60, 1.0), ("red", 120, 0.5)])  # the same people, by another
    assert build().changed == 1
    assert world.document("p0").segmentation.who == "drawn by 'boris'"


def test_another_model_or_threshold_makes_all_documents_again(world: World, build: Build) -> None:
    world.add("p0", "red")
    world.write()
    model = world.model()
    build(config=config_of(summer_test=model))
    assert build(config=config_of(summer_test=world.model(strength=4.0))).changed == 1
    assert build(config=config_of(summer_test=model)).changed == 1
    assert build(config=config_of(summer_test=model.model_copy(update={"abstain_below": 0.9}))).changed == 1


def test_another_version_of_the_code_confirms_equal_content_without_another_digest(
    world: World, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("p0", "red")
    world.write()
    build()
    digest = world.document("p0").content_digest
    monkeypatch.setattr("silhouette.build_ret_meta.pending.__version__", "99")
    report = build()
    assert (report.confirmed, report.changed) == (1, 0)
    assert world.document("p0").content_digest == digest
    assert world.document("p0").made.code_version == "99"
    assert build().unchanged == 1


def test_a_damaged_document_is_made_again(world: World, build: Build) -> None:
    world.add("p0", "red")
    world.write()
    build()
    whole = world.document("p0")
    world.store.put_bytes(ret_meta.store_key("p0"), ret_meta.to_bytes(whole)[:-40])
    assert build().changed == 1
    assert world.document("p0").content_digest == whole.content_digest


def test_a_document_of_a_newer_silhouette_is_not_overwritten(world: World, build: Build) -> None:
    world.add("p0", "red")
    world.write()
    newer = b'{"schema_version": 3}'
    world.store.put_bytes(ret_meta.store_key("p0"), newer)
    with pytest.raises(InputError, match="schema 2 or older, got schema 3; install the Silhouette that wrote it"):
        build()
    assert world.store.get_bytes(ret_meta.store_key("p0")) == newer


def test_badlisted_pictures_and_their_twins_lose_their_documents_and_are_named(
    world: World, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    row = world.add("bad one", "red")
    world.rows[GROUP].append(row.__class__(**{**vars(row), "picture_id": "twin"}))
    world.add("good", "red")
    world.add("elsewhere", "red", groups=["another group"])
    world.write()
    build()
    build("another group")
    assert len(keys(world)) == 4
    badlist.add(world.connection, ["bad one", "elsewhere", "never seen"])
    report = build()
    assert (report.withdrawn, report.unchanged, report.left_out) == (3, 1, {"badlisted": 3})
    assert keys(world) == {ret_meta.store_key("good")}
    assert {name for name, row in rows_of(world).items() if row["outcome"] == "withdrawn"} == {
        "bad one", "twin", "elsewhere"
    }  # fmt: skip
    for name in ("bad one", "twin", "elsewhere"):
        assert f"{name}: its document was withdrawn, the picture is badlisted" in caplog.text
    again = build()
    assert (again.withdrawn, again.left_out) == (0, {"badlisted": 2})


def test_rejected_and_unsegmented_pictures_have_no_document_any_more(world: World, build: Build) -> None:
    row = world.add("p0", "red")
    world.add("p1", "red")
    world.add("unseen", "red", segmenter="")
    world.write()
    build()
    assert keys(world) == {ret_meta.store_key("p0"), ret_meta.store_key("p1")}
    world.decide(row, "rejected")
    report = build()
    assert (report.withdrawn, report.left_out) == (1, {"rejected": 1, "not_segmented": 1})
    assert keys(world) == {ret_meta.store_key("p1")}


def test_a_picture_that_cannot_be_opened_is_told_and_the_others_go_on(world: World, build: Build) -> None:
    world.add("broken", "red", data=b"no picture")
    world.add("good", "red")
    world.write()
    report = build()
    assert (report.refused, report.new) == (1, 1)
    assert rows_of(world)["broken"]["reason"].startswith("unsupported")


def test_a_picture_of_two_groups_is_one_document_and_different_ones_of_one_id_are_none(
    world: World, build: Build
) -> None:
    world.add("both", "red", groups=[GROUP, "test"])
    world.add("a.png", "red", [("red", 80, 1.0)], groups=[GROUP])
    world.add("a.png", "red", [("blue", 80, 1.0)], groups=["test"])
    world.write()
    report = build(GROUP, "test", GROUP)
    assert (report.pictures, report.new, report.left_out) == (2, 1, {"ambiguous": 1})
    assert set(world.document("both").made.datasets) == {GROUP, "test"}


def test_people_are_of_the_segmenter_that_saw_the_most_or_that_is_named(world: World, build: Build) -> None:
    newer = "b" * 64
    world.add("p0", "red", [("red", 80, 1.0)])
    world.add("p1", "red", [("red", 80, 1.0)])
    world.add("p2", "red", [("red", 40, 0.6), ("blue", 110, 0.6)], segmenter=newer)
    world.write()
    assert build().new == 3
    assert {world.document(f"p{number}").segmentation.model_digest for number in range(3)} == {SEGMENTER, newer}
    report = build(segmenter="bbbb")
    assert (report.withdrawn, report.unchanged) == (2, 1)
    with pytest.raises(InputError, match="'c' begins 0 of their digests; say one of aaaaaaaaaaaa, bbbbbbbbbbbb"):
        build(segmenter="c")


# ---- what cannot be worked with


def test_an_unknown_group_and_an_empty_one_are_refused(world: World, build: Build) -> None:
    world.add("p0", "red")
    world.rows["empty"] = []
    world.write()
    with pytest.raises(
        InputError, match="a group must have been downloaded, 'nobody' was not; run `silhouette download"
    ):
        build(GROUP, "nobody")
    with pytest.raises(InputError, match="a group must have pictures, 'empty' has none"):
        build("empty")
    with pytest.raises(InputError, match="at least one group must be named"):
        build_ret_meta(groups=[], config=config_of(), **world.tools)


def test_a_group_that_nobody_segmented_is_refused(world: World, build: Build) -> None:
    world.add("p0", "red", segmenter="")
    world.write()
    with pytest.raises(InputError, match="'summer test' must have been segmented, none was; run `silhouette segment`"):
        build()


def test_a_model_whose_classes_differ_from_the_configurations_is_refused(world: World, build: Build) -> None:
    world.add("p0", "red")
    world.write()
    config = config_of(summer_test=world.model())
    config = config.model_copy(update={"groups": {GROUP: GroupConfig(classes=["red", "blue", "green"])}})
    with pytest.raises(
        InputError, match=r"must have the group's classes, .*\['red', 'blue', 'green'\], got \['red', 'gre"
    ):
        build(config=config)
    assert keys(world) == set()


def test_a_model_file_that_is_missing_or_another_one_is_refused(world: World, build: Build, tmp_path: Path) -> None:
    world.add("p0", "red")
    world.write()
    with pytest.raises(InputError, match="the model of group 'summer test' must exist"):
        build(config=config_of(summer_test=ModelConfig(onnx=str(tmp_path / "none.onnx"))))
    model = world.model()
    with Path(model.onnx).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match="a model must be the one of its card"):
        build(config=config_of(summer_test=model))


@pytest.mark.parametrize(("passed", "evaluated", "gate"), [(False, True, "refused"), (True, False, "unjudged")])
def test_the_document_says_what_the_gate_said(
    world: World, build: Build, passed: bool, evaluated: bool, gate: str
) -> None:
    world.add("p0", "red")
    world.write()
    model = world.model(passed=passed)
    build(config=config_of(summer_test=model if evaluated else ModelConfig(onnx=model.onnx)))
    assert world.document("p0").models[GROUP].gate == gate


def test_an_evaluation_of_another_model_is_refused(world: World, build: Build) -> None:
    world.add("p0", "red")
    world.write()
    model, other = world.model(), world.model(strength=3.0)
    with pytest.raises(InputError, match="an evaluation must be of the model it is beside"):
        build(config=config_of(summer_test=model.model_copy(update={"evaluation": other.evaluation})))


def test_a_model_file_may_be_in_the_store(world: World, build: Build) -> None:
    world.add("p0", "red")
    world.write()
    bundle = Path(world.model().onnx).parent
    for name in ("model.onnx", "model.json"):
        world.store.put_file(f"models/x/onnx/{name}", bundle / name)
    address = f"s3://{world.store.bucket}/models/x/onnx/model.onnx"
    for place in ("models/x/onnx/model.onnx", address):
        build(config=config_of(summer_test=ModelConfig(onnx=place)))
        assert world.document("p0").people[0].predictions[GROUP].label == "red"


def test_small_pixels_are_cut_for_every_model_from_one_decoding(
    world: World, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    decode = imaging.open_picture
    monkeypatch.setattr("silhouette.working_copy.open_picture", lambda data: opened.append(len(data)) or decode(data))
    for number in range(3):
        world.add(f"p{number}", "red")
    world.write()
    build(config=config_of(summer_test=world.model(), other=world.model(group="other", size=48)))
    assert len(opened) == 3
