"""Splits share no picture and no shoot, come close to the fractions, and hang on nothing but pictures and seed."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from silhouette.build_dataset.splits import assign_splits
from silhouette.contracts.dataset import SPLITS, PictureRow
from silhouette.errors import InputError


def row(
    name: str, *, label: str = "a", content: str = "", pixset_id: str = "", split: str = "", near_group: str = ""
) -> PictureRow:
    sha256 = hashlib.sha256((content or name).encode()).hexdigest()
    return PictureRow(
        picture_id=name, object_key=f"pictures/{sha256}", sha256=sha256, width=1, height=1,
        label=label, pixset_id=pixset_id, split=split, near_group=near_group,
    )  # fmt: skip


def assign(rows: list[PictureRow], *, val: float = 0.15, test: float = 0.15, seed: int = 17) -> dict[str, str]:
    return assign_splits(rows, val_fraction=val, test_fraction=test, seed=seed)


@st.composite
def pictures(draw: st.DrawFn) -> list[PictureRow]:
    """Shoots of up to 6 pictures, some with the same bytes as a picture elsewhere, of 2 to 4 classes."""
    labels = draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=4, unique=True))
    rows: list[PictureRow] = []
    for shoot in range(draw(st.integers(6, 60))):
        pixset = draw(st.sampled_from(["", f"shoot {shoot}"]))
        for _ in range(draw(st.integers(1, 6))):
            name = f"p{len(rows)}"
            content = draw(st.sampled_from([name] * 9 + ["twin 1"]))
            alike = draw(st.sampled_from([""] * 9 + ["look 1", "look 2"]))
            label = draw(st.sampled_from(labels))
            rows.append(row(name, label=label, content=content, pixset_id=pixset, near_group=alike))
    return rows


def assign_or_skip(rows: list[PictureRow], seed: int = 17) -> dict[str, str]:
    try:
        return assign(rows, seed=seed)
    except InputError:
        assume(False)
        raise


@settings(deadline=None)
@given(pictures(), st.integers(0, 1000))
def test_no_shoot_no_bytes_and_no_looks_straddle(rows: list[PictureRow], seed: int) -> None:
    splits = assign_or_skip(rows, seed)
    assert set(splits) == {item.picture_id for item in rows}
    for key in ("pixset_id", "sha256", "near_group"):
        where: dict[str, set[str]] = {}
        for item in rows:
            if getattr(item, key):
                where.setdefault(getattr(item, key), set()).add(splits[item.picture_id])
        assert all(len(found) == 1 for found in where.values())


@settings(deadline=None)
@given(pictures())
def test_every_class_is_in_every_split(rows: list[PictureRow]) -> None:
    splits = assign_or_skip(rows)
    present = {(item.label, splits[item.picture_id]) for item in rows}
    assert present == {(label, name) for label in {item.label for item in rows} for name in SPLITS}


@settings(deadline=None)
@given(pictures(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[PictureRow], shuffler: random.Random) -> None:
    splits = assign_or_skip(rows)
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    assert assign(shuffled) == splits


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(20, 200), min_size=2),
    st.floats(0.1, 0.3),
    st.floats(0.1, 0.3),
)
def test_single_pictures_meet_the_fractions_in_every_class(sizes: dict[str, int], val: float, test: float) -> None:
    rows = [row(f"{label}{number}", label=label) for label, size in sizes.items() for number in range(size)]
    splits = assign(rows, val=val, test=test)
    for label, size in sizes.items():
        found = Counter(splits[item.picture_id] for item in rows if item.label == label)
        for name, fraction in (("val", val), ("test", test)):
            assert abs(found[name] - fraction * size) <= 1.5


def test_shoots_come_near_the_fractions() -> None:
    draw = random.Random(5)
    rows = [
        row(f"{shoot}-{number}", label=draw.choice("abc"), pixset_id=f"shoot {shoot}")
        for shoot in range(120)
        for number in range(draw.randint(1, 12))
    ]
    splits = assign(rows)
    for label in "abc":
        of_class = [splits[item.picture_id] for item in rows if item.label == label]
        assert of_class.count("val") / len(of_class) == pytest.approx(0.15, abs=0.03)
        assert of_class.count("test") / len(of_class) == pytest.approx(0.15, abs=0.03)


def test_another_seed_gives_another_division() -> None:
    rows = [row(f"{label}{number}", label=label) for label in "ab" for number in range(50)]
    assert assign(rows, seed=1) != assign(rows, seed=2)
    assert assign(rows, seed=1) == assign(rows, seed=1)


def test_five_pictures_a_class_are_enough() -> None:
    rows = [row(f"{label}{number}", label=label) for label in "abc" for number in range(5)]
    assert len({(item.label, name) for item in rows for name in [assign(rows)[item.picture_id]]}) == 9


def test_three_equal_shoots_of_a_class_go_into_three_splits() -> None:
    rows = [row(f"{label}{n}", label=label, pixset_id=f"{label}{n // 4}") for label in "ab" for n in range(12)]
    assert Counter(assign(rows).values()) == {"train": 8, "val": 8, "test": 8}


def test_a_class_of_one_shoot_cannot_be_divided() -> None:
    rows = [row(f"a{number}") for number in range(20)] + [
        row(f"b{number}", label="b", pixset_id="the only one") for number in range(20)
    ]
    with pytest.raises(InputError, match="'b' is not in val and test; its pictures come from too few shoots"):
        assign(rows)


def test_splits_of_the_source_are_honoured() -> None:
    rows = [row(f"{label}{n}", label=label, split=SPLITS[n % 3]) for label in "ab" for n in range(9)]
    assert assign(rows) == {item.picture_id: item.split for item in rows}


def test_val_is_taken_from_train_where_the_source_has_none() -> None:
    rows = [
        row(f"{label}{n}", label=label, split="test" if n < 20 else "train", pixset_id=f"shoot {label}{n // 2}")
        for label in "ab"
        for n in range(120)
    ]
    splits = assign(rows)
    assert all((splits[item.picture_id] == "test") == (item.split == "test") for item in rows)
    assert Counter(splits.values())["val"] == pytest.approx(0.15 * 200, abs=2)
    assert all(len({splits[f"{label}{n}"], splits[f"{label}{n + 1}"]}) == 1 for label in "ab" for n in range(0, 120, 2))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a", split="train"), row("b")], "a split for all pictures or for none, 1 of 2 have none"),
        ([row("a", split="test"), row("b", split="val")], "must bring train, got"),
        (
            [row(f"{n}", label="ab"[n % 2], split="train" if n < 10 else "test") for n in range(11)],
            "'b' is not in test",
        ),
    ],
)
def test_impossible_splits_of_the_source_are_refused(rows: list[PictureRow], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign(rows)


def test_fractions_must_leave_something_to_train_on() -> None:
    with pytest.raises(InputError, match=r"must leave something to train on, got 0\.5 and 0\.5"):
        assign([row("a")], val=0.5, test=0.5)
