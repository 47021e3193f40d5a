"""A config is checked as a whole before anything is loaded."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from training.config import ConfigError, TrainingConfig, load_config

MODEL = "model_name_or_path: any\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), overrides)
    return caught.value.problems


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "sft_weight: 0.7\npreference_weight: 0.3\nbeta: -1\ncolour: blue\nlora: {rank: 4}\nsft_batch_size: many\n"
        "loss_type: exo_pair\npreference_shares: {curated: 0, drafts: 0, replay: 0}\n",
    )
    assert found == [
        "model_name_or_path: is missing and has no default",
        "sft_batch_size: got 'many', input should be a valid integer, unable to parse string as an integer",
        "preference_shares: got 0 for curated, drafts and replay, allowed at least one above 0",
        "beta: got -1, input should be greater than 0",
        "lora.rank: unknown key",
        "colour: unknown key",
        "preference_weight: got 0.3, allowed 0.5 to 1 (below it the model recites rather than behaves)",
        "label_smoothing: got 0, allowed more than 0 with the loss_type exo_pair",
    ]


def test_a_wrong_weight_says_nothing_of_the_sum(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{MODEL}sft_weight: half\npreference_weight: 0.3\n")
    assert found == ["sft_weight: got 'half', input should be a valid number, unable to parse string as a number"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sft_batch_size: true", "sft_batch_size: got True, allowed no true or false here"),
        ("beta: .nan", "beta: got nan, input should be a finite number"),
        ("beta: .inf", "beta: got inf, input should be a finite number"),
        ("dtype: float16", "dtype: got 'float16', input should be 'float32' or 'bfloat16'"),
        ("seed: 4294967296", "seed: got 4294967296, input should be less than or equal to 4294967295"),
        (
            "diversity_k: 19",
            "diversity_k: got 19, input should be greater than or equal to 20 or input should be 'auto'",
        ),
        (
            "diversity_k: 101",
            "diversity_k: got 101, input should be less than or equal to 100 or input should be 'auto'",
        ),
        ("diversity_per_cluster: 3", "diversity_per_cluster: got 3, input should be less than or equal to 2"),
        (
            "sft_filters: {review_status: [rejected]}",
            "sft_filters.review_status.0: got 'rejected', input should be 'pending' or 'approved'",
        ),
        ("recency_decay_seconds: {sft: {half: 1}}", "recency_decay_seconds.sft.half: unknown key"),
        ("preference_shares: {edits: 1}", "preference_shares.edits: unknown key"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, line: str, problem: str) -> None:
    assert problems(tmp_path, f"{MODEL}{line}\n") == [problem]


@pytest.mark.parametrize("line", ["diversity_k: 20", "diversity_k: 100", "diversity_k: auto", "diversity_k: null"])
def test_the_number_of_clusters_may_be_given_left_to_the_run_or_switched_off(tmp_path: Path, line: str) -> None:
    assert load_config(write(tmp_path, f"{MODEL}{line}\n")).diversity_k in {20, 100, "auto", None}


@pytest.mark.parametrize("loss", ["aot", "aot_unpaired", "sft"])
def test_a_loss_over_the_whole_batch_allows_no_parts(tmp_path: Path, loss: str) -> None:
    text = f"{MODEL}loss_type: {loss}\ngradient_accumulation_steps: "
    assert problems(tmp_path, f"{text}2\n") == [
        f"gradient_accumulation_steps: got 2, allowed 1 with the loss_type {loss}, which needs a batch whole"
    ]
    assert load_config(write(tmp_path, f"{text}1\n")).loss_type == loss


def test_the_weights_must_sum_to_one(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{MODEL}sft_weight: 0.4\npreference_weight: 0.7\n")
    assert found == ["sft_weight + preference_weight: got 0.4 + 0.7 = 1.1, allowed a sum of 1"]


@pytest.mark.parametrize(("preference", "sft"), [(0.5, 0.5), (1.0, 0.0)])
def test_the_preference_weight_may_lie_at_either_end(preference: float, sft: float) -> None:
    config = TrainingConfig(model_name_or_path="any", sft_weight=sft, preference_weight=preference)
    assert config.preference_weight == preference


def test_a_preference_weight_just_under_the_limit_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{MODEL}sft_weight: 0.501\npreference_weight: 0.499\n")
    assert found == ["preference_weight: got 0.499, allowed 0.5 to 1 (below it the model recites rather than behaves)"]


def test_a_day_without_a_zone_is_that_day_in_utc(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, f"{MODEL}sft_filters: {{since: 2026-01-01}}\n"))
    assert config.sft_filters.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_no_is_a_word_and_not_a_truth_value(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, f"{MODEL}mixed_precision: no\nnormalize_losses: true\n"))
    assert (config.mixed_precision, config.normalize_losses) == ("no", True)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f"{MODEL}beta: 0.1\nlora: {{r: 8}}\nbeta: 0.2\n")
    assert found.startswith("is not YAML: the key beta is given twice")
    assert "line 4" in found


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: 1 problem\n  cannot be read: .*No such file"):
        load_config(tmp_path / "none.yaml")


def test_a_file_of_another_encoding_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes("beta: 0.1 # größer".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"run\.yaml: 1 problem\n  cannot be read: 'utf-8' codec can't decode"):
        load_config(path)


def test_what_is_not_yaml_is_one_clear_line(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "beta: [1, 2\n")
    assert found.startswith("is not YAML: ")
    assert "\n" not in found


def test_a_list_at_the_top_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "- beta\n") == ["got list at the top, allowed a mapping of keys to values"]
