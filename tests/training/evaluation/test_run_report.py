"""The page of a run tells what it taught, at what price, and shows the texts of others as they are."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.training.records import preference_record, sft_record
from training.config import TrainingConfig
from training.evaluation.probes import Answer, Probe
from training.evaluation.run_report import SHOWN_ANSWERS, SHOWN_PAIRS, ChannelReport, RunReport, render_report
from training.sampling.plan import Channel

NAMES = (
    *("recall", "recall_person_only", "preference_accuracy", "preference_margin"),
    *("sft_loss", "sft_loss_median", "general_loss", "general_loss_median"),
)
HOSTILE = "a | b <img src=x onerror=alert(1)>\n\n# heading [link](https://example.com)"


@dataclass(frozen=True)
class PairChange:
    channel: Channel
    index: int
    before: float
    after: float


def answer(number: int, text: str) -> Answer:
    return Answer(Probe(f"fact {number}", "assistant_said", f"question {number}?", (("right",),)), text)


def evaluation(**changes: float | None) -> dict[str, float | None]:
    both = {f"{name}_{when}": 0.5 for name in NAMES for when in ("before", "after")}
    return {**both, "drift_ratio": 0.01, "drift_mean_ratio": -0.02, **changes}


def report(**changes: Any) -> RunReport:
    course = ChannelReport(loss_first=2.5, loss_last=0.25, batches=96, pairs_used=80, pool=90, epochs=3)
    given = RunReport(
        run=7,
        config=TrainingConfig.model_validate({"model_name_or_path": "org/model_name"}),
        folder=Path("artifacts/lora/test/run-7"),
        steps=240,
        planned_steps=240,
        stopped_early=None,
        channels={"sft": course, "preference": replace(course, loss_first=0.693, batches=144)},
        evaluation=evaluation(recall_before=0.0, recall_after=0.85),
        answers_before=(answer(1, "no idea"),),
        answers_after=(answer(1, "right"),),
        changes=(),
        records={"sft": [sft_record(number) for number in range(20)], "preference": [preference_record(30)]},
        device="cpu",
        precision="bf16",
        tokens_per_second=812.4,
        seconds=252.3,
    )
    return replace(given, **changes)


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n\n")[1].split("\n## ")[0]


def test_the_first_paragraph_tells_the_outcome() -> None:
    text = render_report(report())
    assert text.startswith("# Run 7\n\n240 of 240 steps on org/model\\_name, from a fresh adapter, on cpu in bf16. ")
    assert "Recall went from 0% to 85%. Preference accuracy went from 50% to 50%.\n" in text
    assert "Not measured" not in text


def test_a_run_that_stopped_early_says_why() -> None:
    text = render_report(report(steps=80, stopped_early="after 80 of 240 steps nothing improved"))
    assert "80 of 240 steps" in text
    assert "The run ended early: after 80 of 240 steps nothing improved." in text


def test_a_channel_that_stopped_before_the_run_did_is_named_with_its_step() -> None:
    text = render_report(report(stopped={"sft": 120, "preference": 240}))
    assert "The memory channel took part up to step 120: its held-out measurements no longer improved. " in text
    assert "The preference channel" not in text


def test_a_model_that_shares_no_rows_says_why() -> None:
    assert "did not share its row" not in render_report(report())
    text = render_report(report(own_rows="it would change the log-probabilities"))
    assert "did not share its row, which costs time: it would change the log-probabilities. " in text


def test_what_was_not_measured_is_named_and_never_nought() -> None:
    nothing = dict.fromkeys(evaluation())
    text = render_report(report(evaluation=nothing, answers_before=(), answers_after=()))
    assert "Recall went" not in text
    assert "Not measured, for want of something to measure on: recall of what the assistant has said;" in text
    assert section(text, "Before and after").count("| not measured | not measured |") == len(NAMES)
    assert section(text, "What it cost").count("not measured") == 2
    assert "There were no recall probes." in text


def test_each_channel_has_its_row() -> None:
    learned = section(render_report(report()), "What was learned")
    assert "| memory | 2.500 | 0.250 | 96 | 80 | 90 | 3 |" in learned
    assert "| preference | 0.693 | 0.250 | 144 | 80 | 90 | 3 |" in learned


def test_the_price_has_drift_time_speed_and_memory_where_it_is_known() -> None:
    cost = section(render_report(report(memory_peak_bytes=3 * 2**30)), "What it cost")
    rows = [line.strip("| ").split(" | ") for line in cost.splitlines()[2:] if line]
    assert dict(rows) == {
        "drift: median token loss on general text": "+1.0%",
        "drift: mean token loss on general text": "-2.0%",
        "time": "252 s",
        "speed": "812 tokens/s",
        "peak memory": "3.0 GiB",
    }
    assert "peak memory" not in render_report(report())
    assert "tokens/s" not in render_report(report(tokens_per_second=None))


def test_the_answers_that_changed_are_shown_up_to_a_limit() -> None:
    count = SHOWN_ANSWERS + 5
    before, after = ([answer(number, text) for number in range(count)] for text in ("no idea", "right"))
    shown = section(render_report(report(answers_before=before, answers_after=after)), "The answers that changed most")
    assert shown.startswith(f"{count} became right, 0 became wrong")
    assert shown.count("| no idea | right | now right |") == SHOWN_ANSWERS
    unchanged = render_report(report(answers_before=after, answers_after=after))
    assert "No answer to a recall probe changed." in unchanged


def test_pairs_that_did_not_stick_are_shown_with_their_number() -> None:
    changes = [PairChange("sft", index, 3.0, 2.9) for index in range(SHOWN_PAIRS + 3)]
    changes += [PairChange("sft", 19, 3.0, 0.1), PairChange("preference", 0, 0.0, -0.25)]
    shown = section(render_report(report(changes=changes)), "Pairs that did not stick")
    assert shown.startswith(f"{SHOWN_PAIRS + 3} of {SHOWN_PAIRS + 4} memory pairs, 1 of 1 preference pairs. ")
    assert shown.count("| memory |") == SHOWN_PAIRS
    assert "| memory | 0 | question 0 | 3.000 | 2.900 |" in shown
    assert "| preference | 30 | question 30 | 0.000 | -0.250 |" in shown
    assert "question 19" not in shown


def test_where_every_pair_left_its_mark_the_report_says_so() -> None:
    text = render_report(report(changes=[PairChange("sft", 0, 3.0, 0.1)]))
    assert "Every pair that was used left its mark." in text


def test_a_pair_from_a_file_has_no_number() -> None:
    records = {"sft": [replace(sft_record(0), id=None)], "preference": []}
    text = render_report(report(records=records, changes=[PairChange("sft", 0, 3.0, 3.0)]))
    assert "| memory | from a file | question 0 |" in text


def test_text_of_others_breaks_no_table_and_brings_in_no_html() -> None:
    """The same page as with harmless text, token for token, but for the words."""
    parser = MarkdownIt("commonmark").enable("table")
    pages = []
    for said in ("harmless", HOSTILE):
        probe = Probe("fact", "assistant_said", said, (("right",),))
        page = render_report(
            report(
                answers_before=(Answer(probe, f"{said}!"),),
                answers_after=(Answer(probe, said),),
                records={"sft": [sft_record(0, question=said)], "preference": []},
                changes=[PairChange("sft", 0, 3.0, 3.0)],
            )
        )
        tokens = parser.parse(page)
        assert {child.type for token in tokens for child in token.children or []} <= {"text", "text_special"}
        pages.append([token.type for token in tokens])
    assert pages[0] == pages[1]


def test_the_adapter_is_loaded_from_its_folder() -> None:
    text = render_report(report(folder=Path('artifacts/a "quoted" folder')))
    snippet = text.split("```python\n")[1].split("```")[0]
    assert 'folder = "artifacts/a \\"quoted\\" folder"' in snippet
    compile(snippet, "snippet", "exec")


@pytest.mark.parametrize(
    ("init_adapter", "start"),
    [("base", "a fresh adapter"), ("continue", "the active adapter"), ("lora/x_y", "the adapter lora/x\\_y")],
)
def test_the_start_is_named(init_adapter: str, start: str) -> None:
    config = TrainingConfig.model_validate({"model_name_or_path": "any", "init_adapter": init_adapter})
    assert f", from {start}, on cpu" in render_report(report(config=config))


def test_the_report_needs_no_torch() -> None:
    code = (
        "import sys; import training.evaluation.run_report, training.evaluation.evaluation_set; "
        "sys.exit(', '.join(sorted({'torch', 'transformers', 'peft', 'django'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
