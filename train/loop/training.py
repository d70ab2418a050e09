"""The training loop: steps, evaluations, and a state that can be saved after any step."""

import math
import time
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from charlm.data.system.errors import TrainingError
from charlm.data.text.bits import in_bits
from charlm.data.text.corpus import Splits
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.loop.batches import Streams, make_batches, sent
from charlm.train.loop.distributed import ALONE, Group
from charlm.train.loop.evaluate import bits_per_character, judged, sample_tokens
from charlm.train.model import CharLSTM, State
from charlm.train.optim.optimisers import START, make_optimiser, share_of_peak
from charlm.train.optim.step import Objective, allow_tf32, make_step
from charlm.train.runs.checkpoint import (
    Checkpoint,
    Progress,
    Record,
    Setup,
    Tensors,
    random_state,
    set_random_state,
)
from charlm.train.setup.defaults import too_high

if TYPE_CHECKING:
    from charlm.train.loop.display import Observer
    from charlm.train.setup.budget import WarmUp

SAMPLE_LENGTH = 160
CHECK_EVERY = 10  # steps between looks at the loss: a look waits for the GPU
SAVE_SECONDS = 30.0
DIVERGED = 2  # times the bits that guessing takes, which no training that works comes to
WARM_UP_PARTS = 20  # of named epochs at most one is for measuring, at a low rate


class Trainer:
    """Trains one model from a setup and the splits of a corpus.

    Args:
        setup: the settings.
        splits: token ids; with `setup.training.final`, validation is learnt from too.
        progress: where to go on; None to begin.
        weights: what to begin with; None to draw them.
        group: the processes that train it, each on its share of the streams. All of them but
            the first need only the training part of the splits.
    """

    def __init__(
        self,
        setup: Setup,
        splits: Splits,
        progress: Progress | None,
        weights: Tensors | None = None,
        group: Group = ALONE,
    ) -> None:
        config = setup.training
        torch.set_num_threads(config.threads)
        allow_tf32(config.tf32)
        self.setup, self.config, self.group = setup, config, group
        self.validation, self.test = judged(splits.validation), judged(splits.test)
        self.learnt = splits.train
        self.batches = make_batches(config, splits.train, group.share(config.batch_size))
        if config.device == "cuda" and isinstance(self.batches, Streams):
            self.batches.keep(config.device, free=torch.cuda.mem_get_info()[0])
        self.model = CharLSTM(setup.model)
        if progress is None:
            torch.manual_seed(config.seed)  # all processes drop the same weights
            if weights is None:
                self.model.initialise(torch.Generator().manual_seed(config.seed))
            else:
                self.model.load_state_dict(weights)
        else:
            self.model.load_state_dict(progress.weights)
        self.model.to(config.device)
        self.optimiser = make_optimiser(self.model, config)
        self.resumed = progress is not None and progress.step > 0
        self.carried: State = self._zero_state()
        if progress is None:
            self.progress = Progress(
                self._weights(), self.optimiser.state_dict(), random_state(config.device)
            )
        else:
            self.progress = progress
            self._restore()
        objective = group.replicate(Objective(self.model, config))
        self.step = make_step(objective, self.model, self.optimiser, config)
        # Of this process: what was summed up before a save is counted by the first.
        before = self.progress.loss_sum if group.first else 0.0
        self.loss_sum = torch.tensor(before, dtype=torch.float64, device=config.device)
        self.since_save = self.clock = self.step_began = time.perf_counter()

    def run(self, observer: "Observer") -> bool:
        """Train to the end, or until the observer says stop.

        Returns:
            Whether training is finished; if not, the state has been saved.

        Raises:
            TrainingError: the loss is no longer finite.
            CharlmError: what the observer raised on saving.
        """
        progress = self.progress
        if progress.total_steps is None and self.config.minutes is None:
            self._fix_steps(self._epochs_in_steps())
        elif progress.schedule is None and self.config.recipe == "stateful":
            self.optimiser.set_share(START)
        self._save(observer, epoch_ended=False)
        if progress.total_steps is None:
            from charlm.train.setup.budget import WarmUp

            warm_up = WarmUp(self.config.minutes or 0.0)
        while not self._ended():
            for tokens, targets in self.batches.epoch(progress.epoch, progress.step_in_epoch):
                if progress.step == progress.total_steps:
                    break
                self._step(tokens, targets)
                if progress.total_steps is None:
                    self._warm_up(warm_up, observer)
                if self._must_stop(observer):
                    self._save(observer, epoch_ended=False)
                    return False
                if progress.step % CHECK_EVERY == 0:
                    self._look(observer)
            self._end_epoch(observer)
        if not progress.finished:
            self._score_test()
            progress.finished = True
            self._save(observer, epoch_ended=True)
        return True

    def _step(self, tokens: Tensor, targets: Tensor) -> None:
        """One optimiser step on tokens [time, batch]; targets [time, batch] or [batch]."""
        self.step_began = time.perf_counter()
        tokens, targets = sent(tokens, self.config.device), sent(targets, self.config.device)
        stateful = self.config.recipe == "stateful"
        state = self.carried if stateful else self.model.zero_state(tokens.shape[1])
        loss, state = self.step(tokens, targets, state)
        if stateful:
            self.carried = state
        progress = self.progress
        if progress.schedule is not None:
            progress.schedule["taken"] += 1
            self._set_rates()
        self.loss_sum += loss * targets.numel()
        progress.loss_characters += self.batches.characters(progress.step_in_epoch)
        progress.step += 1
        progress.step_in_epoch += 1

    def _must_stop(self, observer: "Observer") -> bool:
        """Whether an observer asks for it: a process alone is heard at once, several in turn."""
        wanted = observer.must_stop()
        if self.group.size == 1:
            return wanted
        return self.progress.step % CHECK_EVERY == 0 and self.group.any(wanted)

    def _look(self, observer: "Observer") -> None:
        bits = self._training_bits()
        speed = self.progress.loss_characters / max(self._tick(), 1e-9)
        observer.stepped(self.progress, bits, speed)
        due = self.group.first and time.perf_counter() - self.since_save > SAVE_SECONDS
        if self.group.any(due):
            self._save(observer, epoch_ended=False)

    def _training_bits(self) -> float:
        """Mean training loss of this epoch so far; an error if it is not finite."""
        progress = self.progress
        progress.loss_sum = self.group.total(self.loss_sum.item())
        if not math.isfinite(progress.loss_sum):
            self._diverged(
                f"the loss is not finite at step {progress.step} (epoch {progress.epoch + 1})"
            )
        return in_bits(progress.loss_sum / max(progress.loss_characters, 1))

    def _check_weights(self) -> None:
        """A finite loss can be followed by an update that is not finite."""
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            self._diverged(f"the weights are not finite after step {self.progress.step}")

    def _check_bits(self, bits: float) -> None:
        """Bits per character of an epoch: finite, and not far above what guessing takes."""
        after, guessing = f"after step {self.progress.step}", math.log2(len(self.setup.vocabulary))
        if not math.isfinite(bits):
            self._diverged(f"the validation loss is not finite {after}")
        if bits > DIVERGED * max(guessing, 8):  # of few characters, overfitting takes as much
            self._diverged(
                f"{bits:.3g} bits per character {after}, where guessing takes {guessing:.3g}"
            )

    def _diverged(self, found: str) -> NoReturn:
        lower = too_high(self.config)
        again = f"start again with a lower {lower} (and `overwrite`, or another `out`)"
        if self.resumed:
            again = f"go on from the last save with `resume`, `accept_changes` and a lower {lower}"
        raise TrainingError(f"{found}: training diverged; {again}")

    def _end_epoch(self, observer: "Observer") -> None:
        progress = self.progress
        train_bits = self._training_bits()
        seconds = self._tick()
        self._check_weights()
        bits = None
        if not self.config.final:
            bits = self.group.from_first(lambda: bits_per_character(self.model, self.validation))
        self._check_bits(train_bits if bits is None else bits)
        before = progress.epochs_read(progress.epoch)  # fewer, where a run ended within one
        record: Record = {
            "step": progress.step,
            "epoch": round(before + progress.step_in_epoch / len(self.batches), 4),
            "train_bits": round(train_bits, 5),
            "validation_bits": None if bits is None else round(bits, 5),
            "seconds": round(progress.seconds, 1),
            "characters_per_second": round(progress.loss_characters / max(seconds, 1e-9)),
            "lr": float(self.optimiser.param_groups[0]["lr"]),
        }
        progress.metrics.append(record)
        progress.epoch += 1
        self._keep_best(bits)
        progress.step_in_epoch = progress.loss_characters = 0
        progress.loss_sum = 0.0
        self.loss_sum.zero_()
        self.carried = self._zero_state()
        if self.group.first:
            observer.evaluated(dict(record), self._sample())
        self._tick()
        progress.epoch_seconds = 0.0
        self._save(observer, epoch_ended=True)

    def _keep_best(self, bits: float | None) -> None:
        progress = self.progress
        if bits is None or progress.best_bits is None or bits < progress.best_bits:
            progress.best_weights = self._weights()
            progress.best_bits, progress.best_epoch = bits, progress.epoch
            progress.stale_epochs = 0
        else:
            progress.stale_epochs += 1

    def _ended(self) -> bool:
        """Whether the last epoch is behind us: its steps taken, and its end (evaluated, saved)."""
        progress = self.progress
        if progress.finished:
            return True
        if progress.total_steps is None:
            return False
        stale = 0 < self.config.patience <= progress.stale_epochs
        return progress.step_in_epoch == 0 and (stale or progress.step == progress.total_steps)

    def _score_test(self) -> None:
        best = self.progress.best_weights
        assert best is not None  # an epoch has ended, or there would be nothing to score
        self.model.load_state_dict(best)
        bits = self.group.from_first(lambda: bits_per_character(self.model, self.test))
        self.progress.test_bits = round(bits, 5)
        self.model.load_state_dict(self.progress.weights)

    def _sample(self) -> str:
        vocabulary = Vocabulary(self.setup.vocabulary)
        likeliest = max(range(len(vocabulary)), key=self.setup.initial.__getitem__)
        first = torch.tensor([likeliest], device=self.config.device)
        seed = self.config.seed + self.progress.epoch
        tokens = sample_tokens(self.model, first, SAMPLE_LENGTH, seed)
        return vocabulary.decode(tokens[1:, 0].cpu().numpy())

    def _epochs_in_steps(self) -> int:
        return (self.config.epochs or 0) * len(self.batches)

    def _warm_up(self, warm_up: "WarmUp", observer: "Observer") -> None:
        """Time the step just taken; once that is enough, fix the number of steps and save it."""
        self._training_bits()  # waits for the GPU
        seconds = self.group.from_first(lambda: time.perf_counter() - self.step_began)
        seconds_a_step = warm_up.add(seconds)
        epochs = self._epochs_in_steps()
        if seconds_a_step is None and 0 < epochs <= WARM_UP_PARTS * self.progress.step:
            seconds_a_step = warm_up.so_far()  # both were named, and this is a part of it already
        if seconds_a_step is not None:
            each = seconds_a_step
            self._fix_steps(self.group.from_first(lambda: self._budget(each)))
            self.progress.stale_epochs = 0  # of the warm-up, whose rate is low
            self._save(observer, epoch_ended=False)

    def _budget(self, seconds_a_step: float) -> int:
        """The number of steps of the whole run, from the time a step and an evaluation take."""
        from charlm.train.setup import budget

        assert self.config.minutes is not None
        each = budget.seconds_a_character(self.model, self.learnt)
        self._tick()
        evaluated = 0 if self.config.final else len(self.validation)
        steps = budget.steps_for(
            seconds_left=60 * self.config.minutes - self.progress.seconds - each * len(self.test),
            seconds_a_step=seconds_a_step,
            seconds_an_evaluation=each * evaluated,
            steps_an_epoch=len(self.batches),
        )
        total = self.progress.step + steps
        if self.config.epochs is not None:
            total = max(min(total, self._epochs_in_steps()), self.progress.step)
        return total

    def _fix_steps(self, total: int) -> None:
        self.progress.total_steps = total
        if self.config.recipe == "stateful":  # the notebook's rate is constant
            steps = total - self.progress.step
            self.progress.schedule = {"total_steps": steps, "taken": 0}
            self._set_rates()

    def _set_rates(self) -> None:
        if (schedule := self.progress.schedule) is not None:
            share = share_of_peak(schedule["taken"], schedule["total_steps"])
            self.optimiser.set_share(share)

    def _restore(self) -> None:
        """Bring optimiser, rates, random state and carried state to where the progress says."""
        progress, config = self.progress, self.config
        self.optimiser.load_state_dict(progress.optimiser)
        self._set_rates()
        set_random_state(config.device, progress.rng)
        if progress.carried is not None:
            share = self.group.share(config.batch_size)
            h, c = (part[:, share].to(config.device) for part in progress.carried)
            self.carried = h, c

    def _zero_state(self) -> State:
        return self.model.zero_state(self.config.batch_size // self.group.size)

    def _save(self, observer: "Observer", epoch_ended: bool) -> None:
        self._training_bits()  # a state that is not finite is never saved
        self._check_weights()
        progress = self.progress
        self._tick()
        progress.weights = self._weights()
        progress.optimiser = self.optimiser.state_dict()
        progress.rng = random_state(self.config.device)
        h, c = (self.group.joined(part, dim=1) for part in self.carried)
        progress.carried = h, c
        self.group.from_first(lambda: observer.save(Checkpoint(self.setup, progress), epoch_ended))
        self.since_save = time.perf_counter()

    def _weights(self) -> Tensors:
        return {name: t.detach().cpu().clone() for name, t in self.model.state_dict().items()}

    def _tick(self) -> float:
        """Add the time since the last tick to the run's; seconds of this epoch."""
        now = time.perf_counter()
        self.progress.seconds += now - self.clock
        self.progress.epoch_seconds += now - self.clock
        self.clock = now
        return self.progress.epoch_seconds
