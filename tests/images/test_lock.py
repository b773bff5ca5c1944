"""What is installed is what was pinned, in every image and here."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from images import lock

BLOCKS = lock.read_blocks(lock.LOCK.read_text(encoding="utf-8"))
PROJECT = tomllib.loads((lock.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KNOWN_BAD = {
    "ultralytics": {"8.3.41", "8.3.42", "8.3.45", "8.3.46"},
    "lightning": {"2.6.2", "2.6.3"},
}


def subset(image: str) -> dict[str, str]:
    return lock.read_blocks((lock.ROOT / "images" / image / "requirements.lock").read_text(encoding="utf-8"))


def names(blocks: dict[str, str]) -> set[str]:
    return {lock.parse_pin(pin)[0] for pin in blocks}


def direct_requirements(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for in `extra`, through the extras that it includes."""
    found = [Requirement(text) for text in PROJECT["dependencies"]]
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == "silhouette":
            found += [item for inner in requirement.extras for item in direct_requirements(inner)]
        else:
            found.append(requirement)
    return found


ALL_LOCKS = ["all", *lock.IMAGES]


def blocks_of(name: str) -> dict[str, str]:
    return BLOCKS if name == "all" else subset(name)


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_every_pin_is_hashed(name: str) -> None:
    unhashed = [pin for pin, block in blocks_of(name).items() if "--hash=sha256:" not in block]
    assert not unhashed


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_opencv_comes_from_the_headless_package_only(name: str) -> None:
    assert [item for item in names(blocks_of(name)) if item.startswith("opencv")] == ["opencv-python-headless"]


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_no_known_bad_release_is_pinned(name: str) -> None:
    pins = [lock.parse_pin(pin) for pin in blocks_of(name)]
    assert not [(package, version) for package, version, _ in pins if version in KNOWN_BAD.get(package, ())]


@pytest.mark.parametrize("image", lock.IMAGES)
def test_subset_agrees_with_the_full_lock_line_by_line(image: str) -> None:
    for pin, block in subset(image).items():
        assert block == re.sub(r"(?m)^ +#.*\n", "", BLOCKS[pin])


@pytest.mark.parametrize("image", lock.IMAGES)
def test_subset_holds_everything_that_its_extra_asks_for(image: str) -> None:
    assert {canonicalize_name(item.name) for item in direct_requirements(image)} <= names(subset(image))


@pytest.mark.parametrize("image", lock.IMAGES)
def test_subset_holds_every_dependency_of_its_packages(image: str) -> None:
    pinned = names(subset(image))
    environment = {**lock.LINUX[0], "extra": ""}
    for package in pinned:
        try:
            needed = importlib.metadata.requires(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # pinned for another Python or machine than this one
        for requirement in map(Requirement, needed):
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            name = canonicalize_name(requirement.name)
            assert name in pinned or name in (*lock.UNWANTED, *lock.NO_STEP_CALLS), f"{package} needs {name}"


def test_subsets_grow_from_cpu_over_torch_to_yolo() -> None:
    assert names(subset("cpu")) < names(subset("torch")) < names(subset("yolo")) < names(BLOCKS)


@pytest.mark.parametrize("heavy", ["torch", "torchvision", "lightning", "timm", "ultralytics", "triton"])
def test_cpu_image_has_no_torch(heavy: str) -> None:
    assert heavy not in names(subset("cpu"))


def test_cpu_image_has_no_nvidia_library() -> None:
    assert not [item for item in names(subset("cpu")) if item.startswith(("nvidia-", "cuda-"))]


def test_only_the_yolo_image_has_ultralytics() -> None:
    assert [image for image in lock.IMAGES if "ultralytics" in names(subset(image))] == ["yolo"]


def test_subset_leaves_out_what_is_for_other_systems() -> None:
    lines = "\n".join(pin for image in lock.IMAGES for pin in subset(image))
    assert "win32" not in lines
    assert "colorama" not in lines


def test_exact_pins_of_pyproject_are_those_of_the_lock() -> None:
    pinned = {name: version for name, version, _ in map(lock.parse_pin, BLOCKS)}
    exact = {
        canonicalize_name(item.name): specifier.version
        for item in direct_requirements("dev")
        for specifier in item.specifier
        if specifier.operator == "=="
    }
    assert len(exact) > 5
    assert {name: pinned[name] for name in exact} == exact


def test_every_requirement_of_pyproject_accepts_its_pin() -> None:
    pins = [lock.parse_pin(pin)[:2] for pin in BLOCKS]
    for requirement in direct_requirements("dev"):
        versions = [version for name, version in pins if name == canonicalize_name(requirement.name)]
        assert versions, f"{requirement} is not in the lock; run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_cv2_is_given_by_the_headless_package_alone() -> None:
    assert importlib.metadata.packages_distributions()["cv2"] == ["opencv-python-headless"]


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned: dict[str, set[str]] = {}
    for name, version, _ in map(lock.parse_pin, BLOCKS):
        pinned.setdefault(name, set()).add(version)
    for distribution in importlib.metadata.distributions():  # a tool that somebody added for himself is his
        versions = pinned.get(canonicalize_name(distribution.name))
        assert versions is None or distribution.version in versions, f"{distribution.name} is {distribution.version}"


def test_lock_names_no_folder_and_no_host() -> None:
    for path in [lock.LOCK, *(lock.ROOT / "images" / image / "requirements.lock" for image in lock.IMAGES)]:
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        assert not re.search(r"(?m)(^|\s|=)/\w", text)


class TestCut:
    LOCK = (
        "# header\n"
        "alpha==1.0 \\\n    --hash=sha256:aa\n    # via beta\n"
        "beta==2.0 ; sys_platform == 'win32' \\\n    --hash=sha256:bb\n"
        "gamma==3.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:c1 \\\n    --hash=sha256:c2\n"
        "\n# The following packages were excluded from the output:\n# delta\n"
    )

    def test_keeps_named_packages_without_their_comments(self) -> None:
        assert lock.cut(self.LOCK, {"alpha"}, image="cpu").splitlines()[1:] == [
            "alpha==1.0 \\",
            "    --hash=sha256:aa",
        ]

    def test_drops_windows_and_keeps_another_python(self) -> None:
        text = lock.cut(self.LOCK, {"beta", "gamma"}, image="cpu")
        assert "beta" not in text
        assert text.endswith("    --hash=sha256:c1 \\\n    --hash=sha256:c2\n")

    def test_line_that_is_no_pin_is_refused_with_the_way_out(self) -> None:
        with pytest.raises(SystemExit, match=r"name==version, got 'alpha>=1'; run `make lock` again"):
            lock.parse_pin("alpha>=1")


def test_what_decodes_inside_triton_is_the_release_that_decodes_in_the_steps() -> None:
    inside = {name: version for name, version, _ in map(lock.parse_pin, subset("triton"))}
    outside = {name: version for name, version, _ in map(lock.parse_pin, BLOCKS)}
    for name in ("opencv-python-headless", "pillow", "pillow-heif", "onnxruntime"):
        assert inside[name] == outside[name], f"{name}: bring images/triton/requirements.in in line"
