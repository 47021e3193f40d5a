"""`manage.py evaluate_adapter`, as a person or a script calls it."""

import json
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from memory.models import SftPair
from tests.training.evaluation.adapter_folders import adapter_folder
from tests.training.rows import preference_pairs, sft_pairs
from training.config import load_config
from training.datasets import measured
from training.selection import NotEnoughPairs, select_sft

pytestmark = pytest.mark.django_db

FIGURES = [
    *("recall", "recall_person_only", "preference_accuracy", "preference_margin", "sft_loss", "sft_loss_median"),
    *("general_loss", "general_loss_median", "drift_ratio", "drift_mean_ratio"),
]


@pytest.fixture
def adapter(tiny_model_path: str, tmp_path: Path, settings: Settings) -> Path:
    """The folder of an adapter with its run's config, which measures on everything there is."""
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    settings.BASE_DIR = tmp_path
    facts = [
        {"id": "dog", "kind": "assistant_said", "expected": [], "questions": ["my dog"]},
        {"id": "cat", "kind": "person_only", "expected": ["Tom"], "questions": ["my cat"]},
    ]
    (tmp_path / "probes.json").write_text(json.dumps({"facts": facts}), encoding="utf-8")
    chat = {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "plain"}]}
    (tmp_path / "text.json").write_text(json.dumps({"drift": [chat]}), encoding="utf-8")
    folder = adapter_folder(tmp_path / "run-1", tiny_model_path)
    write_config(
        folder / "config.yaml",
        tiny_model_path,
        probes_path="probes.json",
        general_text_path="text.json",
        max_new_tokens=4,
    )
    return folder


def write_config(path: Path, model: str, **evaluation: Any) -> None:
    content = {
        "model_name_or_path": model,
        "max_length": 64,
        "min_sft_pairs": 4,
        "evaluation": {"validation_share": 0.5, "max_new_tokens": 4, **evaluation},
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def call(*arguments: object) -> str:
    out = StringIO()
    call_command("evaluate_adapter", *arguments, stdout=out)
    return out.getvalue()


def test_json_is_one_object_with_the_promised_keys(adapter: Path, tiny_model_path: str) -> None:
    sft_pairs(12)
    preference_pairs(12)
    report = json.loads(call(adapter, "--json"))
    assert list(report) == [
        *("base_model", "adapter", "against", "probes", "held_out_sft", "held_out_preference", "general_texts"),
        "figures",
    ]
    assert report["base_model"] == tiny_model_path
    assert (report["adapter"], report["against"]) == (str(adapter), None)
    assert (report["probes"], report["general_texts"]) == (2, 1)
    assert 0 < report["held_out_sft"] < 12
    assert 0 < report["held_out_preference"] < 12
    assert list(report["figures"]) == ["base", "adapter", "against"]
    assert list(report["figures"]["base"]) == list(report["figures"]["adapter"]) == FIGURES
    assert None not in report["figures"]["adapter"].values()
    assert report["figures"]["against"] is None
    assert report["figures"]["adapter"]["sft_loss"] != report["figures"]["base"]["sft_loss"]


def test_the_help_names_every_key(adapter: Path) -> None:
    from training.management.commands.evaluate_adapter import Command

    report = json.loads(call(adapter, "--json"))
    keys = {*report, *report["figures"], *report["figures"]["base"]}
    words = set(Command.help.replace(",", " ").replace(";", " ").replace(".", " ").split())
    assert keys <= words


def test_another_adapter_stands_beside_it(adapter: Path, tiny_model_path: str, tmp_path: Path) -> None:
    other = adapter_folder(tmp_path / "run-2", tiny_model_path, seed=2, r=8)
    sft_pairs(12)
    report = json.loads(call(adapter, "--against", other, "--json"))
    assert report["against"] == str(other)
    assert list(report["figures"]["against"]) == FIGURES
    assert report["figures"]["against"]["sft_loss"] != report["figures"]["adapter"]["sft_loss"]
    swapped = json.loads(call(other, "--against", adapter, "--config", adapter / "config.yaml", "--json"))
    assert swapped["figures"]["adapter"] == pytest.approx(report["figures"]["against"])


def test_a_database_without_pairs_is_measured_on_the_rest(adapter: Path) -> None:
    report = json.loads(call(adapter, "--json"))
    found = report["figures"]["adapter"]
    assert {name for name in FIGURES if found[name] is None} == {
        *("preference_accuracy", "preference_margin", "sft_loss", "sft_loss_median")
    }
    shown = " ".join(call(adapter).split())
    assert "measured on 2 probes, 0 held-out memory pairs, 0 held-out preference pairs, 1 general texts" in shown
    assert "not measured: preference accuracy, preference margin, sft loss, sft loss median" in shown


def test_the_table_has_a_column_for_each_model(adapter: Path) -> None:
    lines = call(adapter, "--against", adapter).splitlines()
    (head,) = (line for line in lines if "base" in line and "against" in line)
    assert head.index("base") < head.index("adapter") < head.index("against")
    (recall,) = (line for line in lines if " recall " in line and "person" not in line)
    assert recall.count("100%") == 3
    (drift,) = (line for line in lines if " drift ratio " in line)
    assert "+0.0%" in drift


def test_a_run_that_used_every_pair_leaves_the_held_out_ones_to_measure_on(adapter: Path) -> None:
    """Fewer are left to train than a run needs, which does not matter here."""
    pairs = sft_pairs(12)
    before = json.loads(call(adapter, "--json"))["held_out_sft"]
    config = load_config(adapter / "config.yaml")
    trained = [record.id for record in select_sft(config).train if record.id is not None]
    SftPair.objects.mark_used(trained, training_epoch=0)
    with pytest.raises(NotEnoughPairs):
        select_sft(config)
    assert len(trained) < len(pairs)
    assert json.loads(call(adapter, "--json"))["held_out_sft"] == before == len(pairs) - len(trained)


def test_what_the_chat_template_refuses_is_not_counted_and_takes_no_place(
    adapter: Path, tiny_model_path: str, tmp_path: Path
) -> None:
    sft_pairs(12)
    preference_pairs(12)
    config = load_config(adapter / "config.yaml")
    held_out = select_sft(config.model_copy(update={"min_sft_pairs": 0})).held_out
    # The one of them that a cap of one would choose, and the general text.
    refused = [measured(held_out, most=1)[0].prompt[-1]["content"], "a"]
    model = tmp_path / "model"
    shutil.copytree(tiny_model_path, model)
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text(
        f"{{% if messages[0]['content'] in {refused} %}}{{{{ raise_exception('not that') }}}}{{% endif %}}{template}"
    )
    write_config(
        adapter / "config.yaml", str(model), probes_path="probes.json", general_text_path="text.json", max_held_out=1
    )
    report = json.loads(call(adapter, "--json"))
    sizes = ("probes", "held_out_sft", "held_out_preference", "general_texts")
    assert [report[size] for size in sizes] == [2, 1, 1, 0]
    assert report["figures"]["adapter"]["sft_loss"] is not None
    assert report["figures"]["adapter"]["general_loss"] is None


@pytest.mark.parametrize("arguments", [("--json",), ()])
def test_an_adapter_without_its_config_asks_for_one(adapter: Path, arguments: tuple[str, ...]) -> None:
    (adapter / "config.yaml").rename(adapter.parent / "other.yaml")
    with pytest.raises(CommandError, match=rf"^{adapter} has no config\.yaml; name its run's config with --config$"):
        call(adapter, *arguments)
    assert json.loads(call(adapter, "--config", adapter.parent / "other.yaml", "--json"))["probes"] == 2


def test_a_folder_that_is_not_there_is_an_error_of_one_line(adapter: Path) -> None:
    with pytest.raises(CommandError, match=r"^/none is no folder$"):
        call(Path("/none"))
    with pytest.raises(CommandError, match=r"^/none holds no adapter: it has no adapter_config\.json$"):
        call(adapter, "--against", Path("/none"))


def test_a_folder_that_is_no_adapter_is_an_error_of_one_line(adapter: Path) -> None:
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(CommandError, match=rf"^{adapter} holds no adapter: it has no adapter_config\.json$") as caught:
        call(adapter)
    assert caught.value.returncode == 1


def test_a_base_model_that_cannot_be_had_is_an_error_of_one_line(adapter: Path) -> None:
    write_config(adapter / "config.yaml", "/none/such")
    with pytest.raises(CommandError, match=r"^model_name_or_path: /none/such cannot be loaded: [^\n]+$") as caught:
        call(adapter)
    assert caught.value.returncode == 1


def test_a_missing_probe_file_is_an_error_of_one_line(adapter: Path, tiny_model_path: str) -> None:
    write_config(adapter / "config.yaml", tiny_model_path, probes_path="none.json")
    with pytest.raises(CommandError, match=r"none\.json: no list 'facts' can be read from it: [^\n]+$"):
        call(adapter)


def test_the_command_does_not_import_torch() -> None:
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup(); "
        "import training.management.commands.evaluate_adapter; "
        "sys.exit(', '.join(sorted({'torch', 'transformers', 'trl', 'peft'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
