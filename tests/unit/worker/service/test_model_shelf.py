"""The list of model files beside the status."""

from __future__ import annotations

from pathlib import Path

from farm.fleet.model_lists import models_of
from farm.settings.worker import WorkerSettings
from farm.status.worker import ModelsStatus, WorkerStatus
from farm.testing import MemoryJobStore
from tests.support.valkey import eventually
from worker.service.model_shelf import ModelShelf


def a_file(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def listed(store: MemoryJobStore, shelf: ModelShelf) -> dict[str, int] | None:
    return models_of(store, WorkerStatus(models=shelf.facts()))


def test_every_model_file_is_listed_with_its_size_whatever_folders_and_links_lead_to_it(
    tmp_path: Path,
) -> None:
    store, models = MemoryJobStore(), tmp_path / "ComfyUI/models"
    a_file(models / "unet/wan/high.safetensors", 7)
    a_file(models / "vae/put_vae_here.txt", 1)
    a_file(tmp_path / "volume/low.gguf", 5)
    (models / "diffusion_models").mkdir()
    (models / "diffusion_models/shared").symlink_to(tmp_path / "volume")
    (tmp_path / "volume/round").symlink_to(tmp_path / "volume")
    (models / "vae/gone.safetensors").symlink_to(tmp_path / "nowhere")
    shelf = ModelShelf(store, WorkerSettings.read(comfyui_dir=tmp_path / "ComfyUI"))

    shelf.start()
    try:
        eventually(lambda: shelf.facts() is not None, within_s=60)
    finally:
        shelf.stop()

    assert listed(store, shelf) == {
        "diffusion_models/wan/high.safetensors": 7,
        "diffusion_models/shared/low.gguf": 5,
    }
    facts = shelf.facts()
    assert facts is not None
    assert (facts.files, facts.bytes) == (2, 12)


def test_nothing_is_listed_where_the_disk_is_not_ours() -> None:
    shelf = ModelShelf(MemoryJobStore(), WorkerSettings.read(comfyui_url="http://elsewhere:8188"))

    shelf.start()
    shelf.stop()

    assert shelf.facts() is None


def test_a_list_that_a_worker_of_another_version_wrote_is_left_alone() -> None:
    store = MemoryJobStore()
    store.put_blob("models:abc", b"not zlib", ttl_s=60)

    assert models_of(store, WorkerStatus(models=ModelsStatus(list="abc"))) is None
    assert models_of(store, WorkerStatus()) is None
