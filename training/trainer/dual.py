"""The trainer of both channels: TRL's DPO, with a memory stream beside it."""

import contextlib
import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, Trainer, get_scheduler
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import DPOConfig

from training.sampling.plan import Channel
from training.trainer.adapters import StartingPoint, check_loaded
from training.trainer.batches import Batching, BothChannels, Example, MicroBatch
from training.trainer.checkpoints import STATE
from training.trainer.course import Course, StepMetrics, StepResult
from training.trainer.lora_linear import fuse_lora
from training.trainer.packed_losses import PackedLosses
from training.trainer.processes import is_divided, tokens_of_all
from training.trainer.retention import Retention
from training.trainer.scoring import add_placed_head
from training.trainer.step_end import Measure, StepEnd


class DivergedError(RuntimeError):
    """The loss is no longer a number; training stops."""


class DualChannelTrainer(PackedLosses):
    """Trains a LoRA adapter on a planned sequence of steps over memory pairs and preference pairs.

    Preference pairs go through TRL's own losses (DPO: Rafailov et al. 2023, arXiv 2305.18290); memory pairs through
    the mean negative log-likelihood of the completion tokens, which is SFT's. The reference is what training starts
    from: the model without its adapter, or a frozen copy of the adapter that was taken up.

    A step runs in micro-batches of rows of like length, in which chosen and rejected answers share their prompt.
    """

    def __init__(
        self,
        start: StartingPoint,
        args: DPOConfig,
        tokenizer: PreTrainedTokenizerBase,
        course: Course,
        batching: Batching,
        *,
        on_step: Callable[[StepResult], None],
        measure: Measure,
    ) -> None:
        self.course = course
        self.batching = batching
        # Which channels stand still, each with the step at which that was found.
        self.stopped: dict[Channel, int] = {}
        self.stop_requested = False
        self.tokens_seen = 0.0
        self.first_losses: dict[int, float] = {}
        self.used: dict[Channel, set[int]] = {"sft": set(), "preference": set()}
        self._step_tokens = 0.0
        self._on_step = on_step
        self._step_metrics: dict[str, float] = {}
        self._trained: tuple[Channel, ...] = ()
        taken_up = [(each, each.data) for each in _trainable(start.model)] if start.lora is None else []
        super().__init__(
            model=start.model,
            args=args,
            # What is trained comes from `get_train_dataloader`; TRL only looks at the columns of a first row.
            train_dataset=Dataset.from_list([{"prompt_ids": [0], "chosen_ids": [0], "rejected_ids": [0]}]),
            processing_class=tokenizer,
            peft_config=start.lora,
        )
        if getattr(start.model, "is_loaded_in_4bit", False):
            _widen_adapter(self.model, taken_up)
        # The batches bring their reference log-probabilities along.
        self.precompute_ref_logps = True
        # Both write to standard output, which belongs to the command's own answer.
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.add_callback(StepEnd(self, measure))
        product_dtype = torch.bfloat16 if args.bf16 else self.model.get_base_model().dtype
        add_placed_head(self.model.get_base_model(), head_dtype=product_dtype)
        fuse_lora(self.model, dtype=product_dtype)

    def get_train_dataloader(self) -> DataLoader[Example]:
        """Return this process's part of the planned steps, in their order.

        Processes divide a batch; one that does not come out even is trained whole by each, which is the same step.
        """
        offset = {"sft": 0, "preference": len(self.course.sft)}
        rank, count = self.accelerator.process_index, self.accelerator.num_processes
        steps = []
        for planned in self.course.steps:
            own = []
            for batch in planned.batches:
                part = batch.indices[rank::count] if is_divided(batch, processes=count) else batch.indices
                own += [offset[batch.channel] + index for index in part]
            steps.append(own)
        return DataLoader(BothChannels(self.course.sft, self.course.preference), batch_sampler=steps, collate_fn=list)

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        """Let each step run at its channel's own learning rate, under the shared course of warm-up and decay."""
        used = optimizer or self.optimizer
        assert used is not None, "the optimizer is made before its scheduler"  # noqa: S101
        course = get_scheduler(
            self.args.lr_scheduler_type,
            optimizer=used,
            num_warmup_steps=self.args.get_warmup_steps(num_training_steps),
            num_training_steps=num_training_steps,
        ).lr_lambdas[0]
        self.lr_scheduler = LambdaLR(used, lambda step: course(step) * self._relative_rate(step))
        return self.lr_scheduler

    def _run_epoch(self, **given: Any) -> None:
        # The checkpoint that a run goes on from may be the one at which its last channel stopped.
        if self.course.channels <= self.stopped.keys():
            self.control.should_training_stop = True
        else:
            super()._run_epoch(**given)

    def stop_channels(self, channels: Collection[Channel], step: int) -> None:
        """Pass over these channels in the steps after `step`, which just ended."""
        for channel in channels:
            self.stopped.setdefault(channel, step)
        # The scheduler had set the next step's rate before it was known which channels take part in it.
        self.lr_scheduler.last_epoch -= 1
        self.lr_scheduler.step()

    def _relative_rate(self, step: int) -> float:
        # The scheduler moves on once more after the last step.
        if step == len(self.course.steps):
            return 0.0
        relative: float = self.course.rate(self.course.steps[step], stopped=self.stopped) / self.args.learning_rate
        return relative

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: Sequence[Example],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Run one optimiser step's forward and backward passes; return its loss, a scalar.

        Raises:
            DivergedError: the loss became NaN or infinite.

        """
        model.train()
        examples = [example for example in inputs if example.channel not in self.stopped]
        self._trained = tuple(dict.fromkeys(example.channel for example in examples))
        self._step_metrics = {}
        self._step_tokens = 0.0
        total = torch.zeros((), device=self.accelerator.device)
        if not examples:
            return total
        batches = self.batching.micro_batches(examples, parts=self.course.parts)
        batches = [batch.to(self.accelerator.device) for batch in batches]
        totals = self.totals(batches)
        self._begin_weights(model, batches, totals)
        factors = {channel: self.course.weights.factor(channel, among=self._trained) for channel in self._trained}
        metrics = StepMetrics()
        tasks: list[Callable[[], torch.Tensor]] = []
        retention = self.course.retention
        if retention is not None and retention.is_due(self.state.global_step):
            tasks.append(functools.partial(self._retention_term, model, retention, metrics))
        for batch in batches:
            tasks.append(functools.partial(self._loss, model, batch, examples, totals, factors, metrics))
        for number, task in enumerate(tasks):
            # Gradients travel between processes once a step.
            last = number == len(tasks) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss = task()
                if not torch.isfinite(loss):
                    raise DivergedError(
                        f"the loss became {loss.item()} at step {self.state.global_step + 1}; lower the learning rates"
                    )
                self.accelerator.backward(loss)
            total += loss.detach()
        self._finish_step(metrics, factors, own_tokens=sum(batch.tokens for batch in batches))
        return total

    def _loss(
        self,
        model: torch.nn.Module,
        batch: MicroBatch,
        examples: Sequence[Example],
        totals: Mapping[Channel, float],
        factors: Mapping[Channel, float],
        metrics: StepMetrics,
    ) -> torch.Tensor:
        """Return the batch's part of the step's loss; the parts of all batches add up, those of processes average."""
        scores = self.scores(model, batch)
        raw = self.raw_losses(batch, scores, totals, metrics)
        if "sft" in raw:
            means = -batch.by_sequence(scores.log_probs.detach()) / batch.lengths
            for position, mean in zip(batch.examples[: batch.sft_count], means.tolist(), strict=False):
                self.first_losses.setdefault(examples[position].index, mean)
        for channel, value in raw.items():
            metrics.add_part(f"{channel}/loss", value.item())
        return torch.stack([factors[channel] * value for channel, value in raw.items()]).sum()

    def _retention_term(self, model: torch.nn.Module, retention: Retention, metrics: StepMetrics) -> torch.Tensor:
        kl = retention.kl(
            self.state.global_step,
            current=lambda batch: model(**batch.inputs, places=batch.places),
            reference=self.reference_logits,
            device=self.accelerator.device,
        )
        metrics.add_part("retention/kl", kl.item())
        return retention.weight * kl

    def _begin_weights(
        self, model: torch.nn.Module, batches: Sequence[MicroBatch], totals: Mapping[Channel, float]
    ) -> None:
        """Measure a channel's loss before its first step, where `normalize_losses` needs it."""
        weights = self.course.weights
        fresh = [channel for channel in self._trained if weights.lacks_magnitude(channel)]
        if not fresh:
            return
        first = StepMetrics()
        with torch.no_grad():
            for batch in batches:
                for channel, value in self.raw_losses(batch, self.scores(model, batch), totals, StepMetrics()).items():
                    first.add_part(channel, value.item())
        shared = self._over_processes(first.values())
        for channel in fresh:
            weights.begin(channel, shared[channel])

    def _finish_step(self, found: StepMetrics, factors: Mapping[Channel, float], *, own_tokens: int) -> None:
        metrics = self._over_processes({**found.values(), "tokens": own_tokens})
        planned = self.course.steps[self.state.global_step]
        self._step_tokens = tokens_of_all(
            metrics.pop("tokens"),
            [batch for batch in planned.batches if batch.channel in self._trained],
            processes=self.accelerator.num_processes,
        )
        self.tokens_seen += self._step_tokens
        weights = self.course.weights
        for channel in self._trained:
            loss = metrics[f"{channel}/loss"]
            metrics[f"{channel}/loss_normalized"] = loss * weights.scale(channel)
            metrics[f"{channel}/factor"] = factors[channel]
            weights.observe(channel, loss)
        if len(self._trained) > 1 or weights.is_dynamic:
            metrics |= {f"{channel}/weight": weight for channel, weight in weights.weights().items()}
        self._step_metrics = metrics

    def _over_processes(self, metrics: Mapping[str, float]) -> dict[str, float]:
        if self.accelerator.num_processes == 1:
            return dict(metrics)
        gathered = gather_object([dict(metrics)])
        return {name: sum(each[name] for each in gathered) / len(gathered) for name in metrics}

    def all_first_losses(self) -> dict[int, float]:
        """Return the loss of each memory pair at its first use, by position in the pool, over all processes."""
        if self.accelerator.num_processes == 1:
            return self.first_losses
        return {index: loss for each in gather_object([self.first_losses]) for index, loss in each.items()}

    def any_process_stops(self) -> bool:
        """Return whether this process, or any that it trains with, was asked to stop."""
        if self.accelerator.num_processes > 1:
            self.stop_requested = any(gather_object([self.stop_requested]))
        return self.stop_requested

    def report_step(self, learning_rate: float, seconds: float) -> None:
        """Hand on what the step that just ended has done, to the log and to the caller."""
        number = self.state.global_step
        planned = self.course.steps[number - 1]
        metrics = {
            **self._step_metrics,
            "learning_rate": learning_rate,
            "tokens_per_second": self._step_tokens / seconds,
            **(self.course.statistics[number - 1] if self.course.statistics else {}),
        }
        for batch in planned.batches:
            if batch.channel in self._trained:
                self.used[batch.channel].update(batch.indices)
            metrics[f"{batch.channel}/pairs_used"] = len(self.used[batch.channel])
        for name, value in metrics.items():
            if name != "learning_rate":
                self._metrics["train"][name].append(value)
        self._on_step(StepResult(number, planned, self._trained, metrics))

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save what a resumed run needs; Transformers' own state comes last, as the mark of a whole checkpoint."""
        first_losses = self.all_first_losses()
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            state = {
                "weights": self.course.weights.state(),
                "plateaus": self.course.plateaus.state(),
                "stopped": self.stopped,
                "first_losses": sorted(first_losses.items()),
                "used": {channel: sorted(indices) for channel, indices in self.used.items()},
            }
            (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
        # Not TRL's: a model card is of no use in a checkpoint.
        Trainer._save_checkpoint(self, model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        folder = Path(resume_from_checkpoint)
        check_loaded(self.accelerator.unwrap_model(self.model), folder)
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.course.weights.restore(state["weights"])
        self.course.plateaus.restore(state["plateaus"])
        self.stopped = dict(state["stopped"])
        self.first_losses = dict(state["first_losses"])
        self.used = {channel: set(indices) for channel, indices in state["used"].items()}


def _widen_adapter(model: torch.nn.Module, taken_up: Sequence[tuple[torch.nn.Parameter, torch.Tensor]]) -> None:
    """Put the trained weights into float32 again, which TRL narrows to bfloat16 where the base is quantised.

    A step of Adam at a usual rate is less than bfloat16's spacing around most weights, and would be rounded away. An
    adapter that was `taken_up` gets back the weights that it had, or each night would round it anew.
    """
    for parameter in _trainable(model):
        parameter.data = parameter.data.float()
    for parameter, weights in taken_up:
        parameter.data = weights


def _trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
