"""The training loop: steps, evaluations, and a state that can be saved after any step."""

import math
import time

import torch
from torch import Tensor
from torch.nn import functional

from charlm.data.corpus import Splits
from charlm.data.errors import TrainingError
from charlm.data.vocabulary import Vocabulary
from charlm.train.batches import make_batches
from charlm.train.budget import WarmUp, steps_for
from charlm.train.checkpoint import Checkpoint, Progress, Setup, Tensors
from charlm.train.evaluate import bits_per_character, judged
from charlm.train.model import CharLSTM, State
from charlm.train.observer import Observer
from charlm.train.optimise import clip_gradients, make_optimiser
from charlm.train.precision import allow_tf32, autocast
from charlm.train.randomness import random_state, set_random_state
from charlm.train.sample import sample_tokens
from charlm.train.schedule import OneCycle

SAMPLE_LENGTH = 160
CHECK_EVERY = 10  # steps between looks at the loss: a look waits for the GPU
SAVE_SECONDS = 30.0
PROBE_CHARACTERS = 4096  # scored in the warm-up to learn what an evaluation takes


class Trainer:
    """Trains one model from a setup and the splits of a corpus.

    Args:
        setup: the settings.
        splits: token ids; with `setup.training.final`, validation is learnt from too.
        progress: where to go on; None to begin.
        weights: what to begin with; None to draw them.
    """

    def __init__(
        self,
        setup: Setup,
        splits: Splits,
        progress: Progress | None,
        weights: Tensors | None = None,
    ) -> None:
        config = setup.training
        torch.set_num_threads(config.threads)
        allow_tf32(config.tf32)
        self.setup, self.config = setup, config
        self.validation, self.test = judged(splits.validation), judged(splits.test)
        self.probe = splits.train[:PROBE_CHARACTERS]
        self.batches = make_batches(config, splits.train)
        self.model = CharLSTM(setup.model)
        if progress is None:
            torch.manual_seed(config.seed)
            if weights is None:
                self.model.initialise(torch.Generator().manual_seed(config.seed))
            else:
                self.model.load_state_dict(weights)
        else:
            self.model.load_state_dict(progress.weights)
        self.model.to(config.device)
        self.optimiser = make_optimiser(self.model, config)
        self.schedule: OneCycle | None = None
        self.progress = progress or Progress(
            self._weights(), self.optimiser.state_dict(), random_state(config.device)
        )
        self.carried = self._restore() if progress else self.model.zero_state(config.batch_size)
        self.loss_sum = torch.tensor(
            self.progress.loss_sum, dtype=torch.float64, device=config.device
        )
        self.since_save = self.clock = self.step_began = time.perf_counter()

    def run(self, observer: Observer) -> bool:
        """Train to the end, or until the observer says stop.

        Returns:
            Whether training is finished; if not, the state has been saved.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        progress = self.progress
        if progress.total_steps is None and self.config.minutes is None:
            self._fix_steps(self._epochs_in_steps())
        self._save(observer, epoch_ended=False)
        warm_up = WarmUp(self.config.minutes or 0.0)
        while not self._ended():
            for tokens, targets in self.batches.epoch(progress.epoch, progress.step_in_epoch):
                if progress.step == progress.total_steps:
                    break
                self._step(tokens, targets)
                if progress.total_steps is None:
                    self._warm_up(warm_up, observer)
                if observer.must_stop():
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
        config = self.config
        tokens, targets = tokens.to(config.device), targets.to(config.device)
        stateful = config.recipe == "stateful"
        state = self.carried if stateful else self.model.zero_state(tokens.shape[1])
        with autocast(config):
            hidden, state = self.model(tokens, state)
            logits = self.model.head(hidden if stateful else hidden[-1])
        loss = functional.cross_entropy(logits.float().flatten(0, -2), targets.flatten())
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        clip_gradients(self.model, self.config)
        self.optimiser.step()
        if self.schedule is not None:
            self.schedule.step()
        if stateful:
            self.carried = (state[0].detach().float(), state[1].detach().float())
        progress = self.progress
        self.loss_sum += loss.detach() * targets.numel()
        progress.loss_characters += targets.numel()
        progress.step += 1
        progress.step_in_epoch += 1

    def _look(self, observer: Observer) -> None:
        bits = self._training_bits()
        speed = self.progress.loss_characters / max(self._tick(), 1e-9)
        observer.stepped(self.progress, bits, speed)
        if time.perf_counter() - self.since_save > SAVE_SECONDS:
            self._save(observer, epoch_ended=False)

    def _check_weights(self) -> None:
        """A finite loss can be followed by an update that is not finite."""
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            raise TrainingError(
                f"the weights are not finite after step {self.progress.step}: {self._diverged()}"
            )

    def _diverged(self) -> str:
        return (
            f"training diverged; start again with a lower --lr than {self.config.lr:g} "
            "(and --overwrite, or another --out)"
        )

    def _training_bits(self) -> float:
        """Mean training loss of this epoch so far; an error if it is not finite."""
        progress = self.progress
        progress.loss_sum = self.loss_sum.item()
        if not math.isfinite(progress.loss_sum):
            raise TrainingError(
                f"the loss is not finite at step {progress.step} (epoch {progress.epoch + 1}): "
                f"{self._diverged()}"
            )
        return progress.loss_sum / max(progress.loss_characters, 1) / math.log(2)

    def _end_epoch(self, observer: Observer) -> None:
        progress = self.progress
        train_bits = self._training_bits()
        seconds = self._tick()
        self._check_weights()
        bits = None
        if not self.config.final:
            bits = bits_per_character(self.model, self.validation)
            if not math.isfinite(bits):
                raise TrainingError(
                    f"the validation loss is not finite after step {progress.step}: "
                    f"{self._diverged()}"
                )
        record = {
            "step": progress.step,
            "epoch": round(progress.epoch + progress.step_in_epoch / len(self.batches), 4),
            "train_bits": round(train_bits, 5),
            "validation_bits": None if bits is None else round(bits, 5),
            "characters_per_second": round(progress.loss_characters / max(seconds, 1e-9)),
            "lr": self.optimiser.param_groups[0]["lr"],
        }
        progress.metrics.append(record)
        progress.epoch += 1
        self._keep_best(bits)
        progress.step_in_epoch = progress.loss_characters = 0
        progress.loss_sum = 0.0
        self.loss_sum.zero_()
        self.carried = self.model.zero_state(self.config.batch_size)
        observer.evaluated(record, self._sample())
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
        stale = 0 < self.config.patience <= progress.stale_epochs
        return progress.step_in_epoch == 0 and (stale or progress.step == progress.total_steps)

    def _score_test(self) -> None:
        best = self.progress.best_weights
        assert best is not None  # an epoch has ended, or there would be nothing to score
        self.model.load_state_dict(best)
        self.progress.test_bits = round(bits_per_character(self.model, self.test), 5)
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

    def _warm_up(self, warm_up: WarmUp, observer: Observer) -> None:
        """Time the step just taken; once that is enough, fix the number of steps and save it."""
        self._training_bits()  # waits for the GPU
        seconds = time.perf_counter() - self.step_began
        if self.progress.step == self._epochs_in_steps():  # both were named, and this is shorter
            self.progress.total_steps = self.progress.step
        elif (seconds_a_step := warm_up.add(seconds)) is not None:
            self._fix_budget(seconds_a_step)
            self._save(observer, epoch_ended=False)

    def _fix_budget(self, seconds_a_step: float) -> None:
        """Fix the number of steps from the time a step and an evaluation take."""
        assert self.config.minutes is not None
        began = time.perf_counter()
        bits_per_character(self.model, self.probe)
        each = (time.perf_counter() - began) / len(self.probe)
        self._tick()
        evaluated = 0 if self.config.final else len(self.validation)
        steps = steps_for(
            seconds_left=60 * self.config.minutes - self.progress.seconds - each * len(self.test),
            seconds_a_step=seconds_a_step,
            seconds_an_evaluation=each * evaluated,
            steps_an_epoch=len(self.batches),
        )
        total = self.progress.step + steps
        if self.config.epochs is not None:
            total = min(total, self._epochs_in_steps())
        self._fix_steps(total)

    def _fix_steps(self, total: int) -> None:
        self.progress.total_steps = total
        steps = total - self.progress.step
        if self.config.recipe == "stateful":  # the notebook's rate is constant
            self.schedule = OneCycle(self.optimiser, steps)

    def _restore(self) -> State:
        """Bring optimiser, schedule and random state to where the progress says."""
        progress, config = self.progress, self.config
        self.optimiser.load_state_dict(progress.optimiser)
        if progress.schedule is not None:
            steps = int(progress.schedule["total_steps"])
            self.schedule = OneCycle(self.optimiser, steps)
            self.schedule.load_state_dict(progress.schedule)
        set_random_state(config.device, progress.rng)
        if progress.carried is None:
            return self.model.zero_state(config.batch_size)
        h, c = progress.carried
        return h.to(config.device), c.to(config.device)

    def _save(self, observer: Observer, epoch_ended: bool) -> None:
        self._training_bits()  # a state that is not finite is never saved
        self._check_weights()
        progress = self.progress
        self._tick()
        progress.weights = self._weights()
        progress.optimiser = self.optimiser.state_dict()
        progress.schedule = self.schedule.state_dict() if self.schedule is not None else None
        progress.rng = random_state(self.config.device)
        progress.carried = (self.carried[0].cpu(), self.carried[1].cpu())
        observer.save(Checkpoint(self.setup, progress), epoch_ended)
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
