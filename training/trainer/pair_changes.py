"""What a run did to the pairs that it used."""

from dataclasses import dataclass

from tqdm import tqdm

from training.sampling.plan import Channel
from training.trainer.dual import DualChannelTrainer
from training.trainer.pair_scores import completion_log_probs


@dataclass(frozen=True, slots=True)
class PairChange:
    """What a run did to the pair at `index` of its channel's pool.

    Memory: the mean token loss in nats, at its first use and after the run. Preference: the implicit reward margin,
    which is 0 before a run by definition.
    """

    channel: Channel
    index: int
    before: float
    after: float


def pair_changes(trainer: DualChannelTrainer) -> tuple[PairChange, ...]:
    """Measure each pair that was used once more; return what became of it."""
    trainer.model.eval()
    course = trainer.course
    first_losses = trainer.all_first_losses()
    used = [course.sft[index] for index in sorted(first_losses)]
    used += [course.preference[index] for index in sorted(trainer.used["preference"])]
    with tqdm(total=len(used), desc="what stuck", unit="pair", disable=None, leave=False) as bar:
        found = completion_log_probs(
            trainer.policy_logits, used, trainer.batching, device=trainer.accelerator.device, advance=bar.update
        )
    changes = []
    for example, values in zip(used, found, strict=True):
        if example.channel == "sft":
            after = -values[0] / max(example.sequences[0].completion_length, 1)
            changes.append(PairChange("sft", example.index, first_losses[example.index], after))
        else:
            chosen, rejected = example.references or (0.0, 0.0)
            margin = trainer.args.beta * ((values[0] - chosen) - (values[1] - rejected))
            changes.append(PairChange("preference", example.index, 0.0, margin))
    return tuple(changes)
