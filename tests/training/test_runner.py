"""Rows in; ledger, run row and adapter out. A tiny real model is trained."""

import json
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db.models import Sum
from peft import PeftModel
from pytest_django.fixtures import Settings
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from memory.models import PreferencePair, SftPair
from tests.training.rows import preference_pairs, sft_pairs
from tests.training.runs import config, started
from training.config import load_config
from training.datasets import Chat
from training.models import TrainingRun
from training.run_state import WORK_FOLDER
from training.trainer.course import StepResult
from training.trainer.dual import DivergedError
from training.trainer.tokenization import Tokenization

pytestmark = pytest.mark.django_db


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file grow over `size` bytes, as a disk does that is about to be full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def pool() -> None:
    sft_pairs(10)
    preference_pairs(8)


@pytest.mark.usefixtures("pool")
def test_a_run_marks_its_pairs_and_leaves_an_adapter(tiny_model_path: str, tmp_path: Path) -> None:
    run = started(config(tiny_model_path), tmp_path)
    run.refresh_from_db()
    assert run.status == TrainingRun.Status.SUCCEEDED
    assert run.steps == 10
    assert run.finished_at is not None
    used = {
        "sft": set(SftPair.objects.used().values_list("pk", flat=True)),
        "preference": set(PreferencePair.objects.used().values_list("pk", flat=True)),
    }
    assert len(used["sft"]) == run.metrics["sft"]["pairs_used"] == 10
    assert len(used["preference"]) == run.metrics["preference"]["pairs_used"] == 8
    assert set(SftPair.objects.filter(uses__run=run).values_list("pk", flat=True)) == used["sft"]
    assert set(PreferencePair.objects.filter(uses__run=run).values_list("pk", flat=True)) == used["preference"]
    assert run.uses.values("step").distinct().count() == 10


@pytest.mark.usefixtures("pool")
def test_only_what_a_run_draws_is_tokenised(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenised: list[str] = []
    tokenise = Tokenization.prompt_and_answers

    def noted(self: Tokenization, prompt: Chat, answers: Sequence[Chat]) -> tuple[list[int], list[list[int]]]:
        tokenised.extend(answer[0]["content"] for answer in answers)
        return tokenise(self, prompt, answers)

    monkeypatch.setattr(Tokenization, "prompt_and_answers", noted)
    started(config(tiny_model_path, max_steps=2), tmp_path)
    memory = SftPair.objects.used().values_list("response", flat=True)
    reward = PreferencePair.objects.used().values_list("chosen", "rejected")
    assert sorted(tokenised) == sorted([*memory, *(text for pair in reward for text in pair)])


@pytest.mark.usefixtures("pool")
def test_the_weights_of_a_step_add_up_to_the_factors_of_its_channels(tiny_model_path: str, tmp_path: Path) -> None:
    run = started(config(tiny_model_path, batch_mixing="mixed", max_steps=2), tmp_path)
    first = run.uses.filter(step=1)
    weights = [first.filter(preference_pair=None), first.filter(sft_pair=None)]
    assert [uses.aggregate(Sum("weight"))["weight__sum"] for uses in weights] == pytest.approx([0.4, 0.6])


@pytest.mark.usefixtures("pool")
def test_the_epoch_of_the_last_use_is_kept(tiny_model_path: str, tmp_path: Path) -> None:
    """8 preference pairs in batches of 2 are 4 steps a pass; 6 of 10 steps reach into the second pass."""
    run = started(config(tiny_model_path), tmp_path)
    uses = run.uses.exclude(preference_pair=None).order_by("step").values_list("step", "epoch").distinct()
    assert [epoch for _, epoch in uses] == [0, 0, 0, 0, 1, 1]
    assert PreferencePair.objects.filter(training_epoch=1).count() == 4
    assert PreferencePair.objects.filter(training_epoch=0).count() == 4


@pytest.mark.usefixtures("pool")
def test_a_memory_pair_keeps_the_loss_it_ended_with(tiny_model_path: str, tmp_path: Path) -> None:
    run = started(config(tiny_model_path), tmp_path)
    data = [json.loads(line) for line in (Path(run.adapter) / "data.jsonl").read_text().splitlines()]
    losses = {entry["id"]: entry["after"] for entry in data if entry["channel"] == "sft"}
    assert len(losses) == 10
    assert dict(SftPair.objects.values_list("pk", "loss")) == pytest.approx(losses)


@pytest.mark.usefixtures("pool")
def test_the_folder_says_how_to_repeat_the_run(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path)
    run = started(settings, tmp_path)
    folder = Path(run.adapter)
    assert {path.name for path in folder.iterdir()} >= {
        *("adapter_config.json", "adapter_model.safetensors", "config.yaml", "data.jsonl", "evaluation.json"),
        *("manifest.json", "metrics.jsonl", "report.md", "tokenizer.json"),
    }
    assert load_config(folder / "config.yaml") == settings
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["run"], manifest["seed"], manifest["base_model"]) == (run.pk, settings.seed, tiny_model_path)
    assert len(manifest["base_checksum"]) == len(manifest["adapter_checksum"]) == 64
    assert manifest["init_adapter"] is manifest["init_checksum"] is None
    assert manifest["versions"]["torch"].startswith("2.13.0")
    assert manifest["versions"].keys() >= {"python", "django", "transformers", "peft", "trl"}
    assert manifest["threads"] >= 1
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(1, 11))
    data = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
    assert sum(line["uses"] for line in data) == run.uses.count()
    assert {line["content_hash"] for line in data} == set(run.uses.values_list("content_hash", flat=True))
    assert (folder / "report.md").read_text().startswith(f"# Run {run.pk}\n")
    assert not (folder.parent / WORK_FOLDER).exists()


@pytest.mark.usefixtures("pool")
def test_the_adapter_loads_in_plain_peft_and_merges(tiny_model_path: str, tmp_path: Path) -> None:
    folder = Path(started(config(tiny_model_path), tmp_path).adapter)
    weights = load_file(folder / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)
    base = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    merged = PeftModel.from_pretrained(base, folder).merge_and_unload()
    assert merged.num_parameters() == AutoModelForCausalLM.from_pretrained(tiny_model_path).num_parameters()
    assert not [path for path in folder.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]


REPEATED = {"sft_filters": {"unused_only": False}, "preference_filters": {"unused_only": False}}


@pytest.mark.usefixtures("pool")
def test_the_first_run_of_a_new_database_spares_the_folders_of_an_old_one(tiny_model_path: str, tmp_path: Path) -> None:
    first = started(config(tiny_model_path), tmp_path)
    TrainingRun.objects.all().delete()
    time.sleep(1.1)  # folders are told apart by the second
    second = started(config(tiny_model_path, **REPEATED), tmp_path)
    assert Path(first.adapter).is_dir()
    assert Path(second.adapter).is_dir()
    assert first.adapter != second.adapter


@pytest.mark.usefixtures("pool")
def test_a_run_that_continues_starts_from_the_active_adapter(tiny_model_path: str, tmp_path: Path) -> None:
    continuing = config(tiny_model_path, init_adapter="continue", **REPEATED)
    said: list[str] = []
    first = started(continuing, tmp_path, said=said)
    assert said[0] == f"{tmp_path}/lora/test has no active adapter to continue from yet; starting a fresh one"
    second = started(continuing, tmp_path, said=said)
    assert sum("no active adapter" in line for line in said) == 1
    manifests = [json.loads((Path(run.adapter) / "manifest.json").read_text()) for run in (first, second)]
    assert manifests[1]["init_adapter"] == first.adapter
    assert manifests[1]["init_checksum"] == manifests[0]["adapter_checksum"]
    assert manifests[1]["adapter_checksum"] != manifests[0]["adapter_checksum"]


def test_pairs_from_a_file_are_in_the_data_manifest_alone(
    tiny_model_path: str, tmp_path: Path, settings: Settings
) -> None:
    settings.DATA_DIR = tmp_path
    preference_pairs(8)
    lines = [{"prompt": f"question {number}", "completion": f"answer {number}"} for number in range(40)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    said: list[str] = []
    run = started(config(tiny_model_path, sft_jsonl="pairs.jsonl"), tmp_path, said=said)
    assert said[0].startswith("skipped pairs.jsonl, line 41: not JSON")
    assert not run.uses.exclude(sft_pair=None).exists()
    data = [json.loads(line) for line in (Path(run.adapter) / "data.jsonl").read_text().splitlines()]
    of_memory = [line for line in data if line["channel"] == "sft"]
    assert len(of_memory) == run.metrics["sft"]["pairs_used"] == 16
    assert {line["id"] for line in of_memory} == {None}
    assert len({line["content_hash"] for line in of_memory}) == 16


def test_a_run_of_one_channel_is_a_run(tiny_model_path: str, tmp_path: Path) -> None:
    preference_pairs(8)
    run = started(config(tiny_model_path, allow_one_channel=True, max_steps=3), tmp_path)
    assert (run.status, run.steps) == (TrainingRun.Status.SUCCEEDED, 3)
    assert run.metrics["sft"] == {"loss_first": None, "loss_last": None, "batches": 0, "pairs_used": 0}
    assert run.metrics["preference"]["batches"] == 3


def test_a_mixed_run_of_one_channel_counts_its_loss_whole(tiny_model_path: str, tmp_path: Path) -> None:
    preference_pairs(8)
    run = started(config(tiny_model_path, allow_one_channel=True, batch_mixing="mixed", max_steps=2), tmp_path)
    assert [step["preference/factor"] for step in run.metrics["steps"]] == [1.0, 1.0]
    assert run.uses.filter(step=1).aggregate(Sum("weight"))["weight__sum"] == pytest.approx(1.0)


@pytest.mark.usefixtures("pool")
def test_a_second_run_finds_nothing_unused(tiny_model_path: str, tmp_path: Path) -> None:
    started(config(tiny_model_path), tmp_path)
    with pytest.raises(ValueError, match="the memory channel has 0 pairs to train"):
        started(config(tiny_model_path), tmp_path)


@pytest.mark.usefixtures("pool")
def test_a_run_that_fails_says_why_and_frees_its_pairs(tiny_model_path: str, tmp_path: Path) -> None:
    diverging = config(tiny_model_path, sft_learning_rate=1e30, preference_learning_rate=1e30, warmup_steps=0)
    with pytest.raises(DivergedError):
        started(diverging, tmp_path)
    failed = TrainingRun.objects.get()
    assert failed.status == TrainingRun.Status.FAILED
    assert failed.error.startswith("the loss became ")
    assert failed.exception_class == "training.trainer.dual.DivergedError"
    assert "Traceback" in failed.traceback
    assert failed.uses.count() > 0
    assert SftPair.objects.used().count() == PreferencePair.objects.used().count() == 0
    assert [path.name for path in (tmp_path / "lora" / "test").iterdir()] == [".lock"]


@pytest.mark.usefixtures("pool")
def test_a_kill_while_a_failed_run_frees_its_pairs_leaves_them_to_the_next(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(result: StepResult) -> None:
        raise RuntimeError("out of memory")

    def die(run: TrainingRun) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("training.runner.release", die)
        started(config(tiny_model_path), tmp_path, on_step=fail)
    dead = TrainingRun.objects.get()
    assert dead.status == TrainingRun.Status.RUNNING
    assert dead.uses.exists()
    run = started(config(tiny_model_path, max_steps=2), tmp_path)
    assert set(SftPair.objects.used()) == set(SftPair.objects.filter(uses__run=run))
    assert set(PreferencePair.objects.used()) == set(PreferencePair.objects.filter(uses__run=run))


@pytest.mark.usefixtures("pool")
def test_a_failed_run_keeps_its_last_good_checkpoint_until_the_next_begins(
    tiny_model_path: str, tmp_path: Path
) -> None:
    def fail(step: int) -> None:
        raise RuntimeError("the graphics card fell off the bus")

    said: list[str] = []
    with pytest.raises(RuntimeError, match="fell off the bus"):
        started(
            config(tiny_model_path, save_steps=3),
            tmp_path,
            said=said,
            on_step=lambda result: fail(result.step) if result.step == 5 else None,
        )
    checkpoint = tmp_path / "lora" / "test" / WORK_FOLDER / "checkpoints" / "checkpoint-3"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert said[-1].endswith(f"the last good checkpoint is kept in {checkpoint} until the next run begins")
    assert SftPair.objects.used().count() == 0
    started(config(tiny_model_path), tmp_path)
    assert not checkpoint.exists()


@pytest.mark.usefixtures("pool")
def test_a_disk_that_is_full_leaves_the_previous_adapter_and_says_so(tiny_model_path: str, tmp_path: Path) -> None:
    """No file may grow to the size of the adapter's weights."""
    first = started(config(tiny_model_path), tmp_path)
    with files_limited_to(20_000), pytest.raises((OSError, SafetensorError), match="File too large"):
        started(config(tiny_model_path, save_steps=100, **REPEATED), tmp_path)
    failed = TrainingRun.objects.latest("pk")
    assert failed.status == TrainingRun.Status.FAILED
    assert "File too large" in failed.error
    root = tmp_path / "lora" / "test"
    assert (root / "active").resolve() == Path(first.adapter)
    assert sorted(path.name for path in root.iterdir()) == sorted([".lock", "active", Path(first.adapter).name])
    assert SftPair.objects.used().count() == 10


@pytest.mark.usefixtures("pool")
def test_a_named_file_that_is_missing_is_one_clear_line(tiny_model_path: str, tmp_path: Path) -> None:
    missing = config(tiny_model_path, retention={"path": "none.json"})
    with pytest.raises(ValueError, match=r"none\.json: no list 'retention' of prompt and completion can be read"):
        started(missing, tmp_path)
    assert not TrainingRun.objects.exists()
