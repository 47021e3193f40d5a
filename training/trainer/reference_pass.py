"""The pass of the reference over the preference pairs, before training."""

from pathlib import Path

from tqdm import tqdm

from training.trainer.adapters import StartingPoint
from training.trainer.dual import DualChannelTrainer
from training.trainer.pair_scores import completion_log_probs
from training.trainer.processes import is_main_process
from training.trainer.reference import ReferenceStore


def fill_references(trainer: DualChannelTrainer, start: StartingPoint, folder: Path) -> None:
    """Give every preference pair that a step draws its reference log-probabilities, computed where unknown.

    Each of several processes computes what is missing: the same numbers, without a word between them.
    """
    name = "-".join(
        (start.base_checksum[:16], (start.adapter_checksum or "base")[:16], str(trainer.accelerator.mixed_precision))
    )
    store = ReferenceStore(folder, reference=name)
    pool = list(trainer.course.preference)
    used = trainer.course.used("preference")
    todo = [pool[used[number]] for number in store.missing([pool[index] for index in used])]
    if todo:
        trainer.model.eval()
        with tqdm(total=len(todo), desc="reference", unit="pair", disable=None, leave=False) as bar:
            values = completion_log_probs(
                trainer.reference_logits, todo, trainer.batching, device=trainer.accelerator.device, advance=bar.update
            )
        store.add(todo, values)
        if is_main_process():
            store.save()
    for index in used:
        pool[index] = store.filled(pool[index])
    trainer.course.preference = pool
