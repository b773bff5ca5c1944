"""Names, weights and what is said when either is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from silhouette.errors import InputError
from silhouette.train_classifier.backbones import build_backbone, choose_device, resolve_name


def test_auto_means_the_small_network_on_a_cpu_and_the_larger_one_on_a_gpu() -> None:
    assert resolve_name("auto", device="cpu") == "tf_efficientnet_lite0"
    assert resolve_name("auto", device="cuda") == "convnext_nano"


def test_a_name_of_timm_is_taken_with_and_without_a_tag() -> None:
    assert resolve_name("resnet18", device="cpu") == "resnet18"
    assert resolve_name("resnet18.a1_in1k", device="cpu") == "resnet18.a1_in1k"
    assert resolve_name("random:resnet10t", device="cpu") == "random:resnet10t"


def test_a_typo_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match=r"got 'resnet19'; nearest: .*resnet18"):
        resolve_name("resnet19", device="cpu")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="device must be auto, cpu or gpu, got 'tpu'"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == "cpu"
        with pytest.raises(InputError, match="take device cpu"):
            choose_device("gpu")


def test_the_default_network_recognises_things_with_the_installed_weights() -> None:
    built = build_backbone("tf_efficientnet_lite0", classes=4, crop_size=224)
    assert built.pretrained
    assert built.mean == built.std == (0.5, 0.5, 0.5)
    state = built.net.state_dict()
    assert state["classifier.weight"].shape == (4, 1280)
    # trained batch-norm statistics, from the first layer to the last: a fresh network has 0 and 1
    for name in ("bn1", "blocks.3.1.bn2", "bn2"):
        assert state[f"{name}.running_mean"].abs().max() > 0.001
        assert (state[f"{name}.running_var"] - 1).abs().max() > 0.01
    with torch.no_grad():
        flat, noise = built.net.eval().forward_features(
            torch.stack([torch.zeros(3, 224, 224), torch.randn(3, 224, 224)])
        )
    assert torch.isfinite(flat).all()
    assert not torch.allclose(flat, noise)


def _saved(tmp_path: Path, kind: str) -> tuple[Path, dict[str, torch.Tensor]]:
    net = build_backbone("random:test_efficientnet", classes=5, crop_size=64).net
    state = {key: value.clone() for key, value in net.state_dict().items()}
    path = tmp_path / f"w.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        save_file(state, path)
    else:
        content = {
            "plain": state,
            "ours": {"state_dict": {f"model.{key}": value for key, value in state.items()}},
            "timm": {"epoch": 3, "state_dict": {}, "state_dict_ema": {f"module.{k}": v for k, v in state.items()}},
        }[kind]
        torch.save(content, path)
    return path, state


@pytest.mark.parametrize("kind", ["plain", "ours", "timm", "safetensors"])
def test_a_file_of_weights_fills_everything_but_the_head(tmp_path: Path, kind: str) -> None:
    path, state = _saved(tmp_path, kind)
    built = build_backbone("random:test_efficientnet", classes=3, crop_size=64, weights=path)
    ours = built.net.state_dict()
    assert built.pretrained
    assert ours["classifier.weight"].shape[0] == 3
    assert all(torch.equal(ours[key], value) for key, value in state.items() if not key.startswith("classifier."))


def test_weights_of_another_network_are_told_by_their_first_tensor(tmp_path: Path) -> None:
    path, _ = _saved(tmp_path, "plain")
    with pytest.raises(InputError, match=r"weights must be those of test_resnet, w\.pt fits \d+ of its \d+ tensors"):
        build_backbone("random:test_resnet", classes=3, crop_size=64, weights=path)


class _Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (_Malicious.target,)

    target = ""


@pytest.mark.parametrize("kind", ["malicious", "text", "empty", "list"])
def test_a_file_that_is_no_weights_is_one_line_and_nothing_in_it_runs(tmp_path: Path, kind: str) -> None:
    path, _Malicious.target = tmp_path / "w.pt", str(tmp_path / "was run")
    if kind == "malicious":
        torch.save({"state_dict": _Malicious()}, path)
    elif kind == "list":
        torch.save([1, 2], path)
    else:
        path.write_text("no weights" if kind == "text" else "")
    with pytest.raises(InputError, match=r"weights must be .*w\.pt"):
        build_backbone("random:test_efficientnet", classes=3, crop_size=64, weights=path)
    assert not Path(_Malicious.target).exists()


def test_random_weights_are_taken_when_told_so_and_follow_the_seed() -> None:
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(build_backbone("random:mobilenetv3_small_050", classes=3, crop_size=64))
    first, second = (built.net.state_dict() for built in nets)
    assert not nets[0].pretrained
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_without_weights_names_the_way_out() -> None:
    with pytest.raises(InputError, match=r"timm has none for 'botnet50ts_256'; .* or random:botnet50ts_256"):
        build_backbone("botnet50ts_256", classes=3, crop_size=64)


def test_weights_that_the_hub_does_not_give_are_a_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"take backbone tf_efficientnet_lite0, .* or random:convnext_nano"):
        build_backbone("convnext_nano", classes=3, crop_size=64)
