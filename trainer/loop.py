"""The training loop: the same in this process and on a parameter-server cluster."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from trainer import checkpoint, epoch_entry, optimizers, rpc
from trainer.averaging import WeightAverage
from trainer.checkpoint_writer import CheckpointWriter
from trainer.cluster.strategy import Result, Runtime
from trainer.cluster.work_queue import WorkQueue, WorkUnit
from trainer.loop_config import LoopConfig
from trainer.monitor import Monitor, server_bytes
from trainer.progress import Progress
from trainer.stopping import Stopping
from trainer.task import Task
from trainer.unit import Function

BEST = ("best", "best_epoch", "best_checkpoint")

AHEAD = 2
"""Units scheduled for each worker: one it works on, and the next."""


class Trainer:
    """Trains one task.

    Args:
      runtime: where steps run. folder: ``models/<variant>``; checkpoints in it are resumed.
      monitor: is told what happens; None tells it to history and TensorBoard alone.
    """

    def __init__(
        self, runtime: Runtime, task: Task, folder: Path, config: LoopConfig, monitor: Monitor | None = None
    ) -> None:
        # The graph rewriter takes most of the first call's time over unrolled steps.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        self.runtime, self.task, self.folder, self.config = runtime, task, folder, config
        self.checkpoints = folder / "checkpoints"
        self.monitor = monitor or Monitor()
        self.writer = CheckpointWriter(self.checkpoints, config.keep_checkpoints)
        self.progress = Progress()
        self._saved: tuple[int, int] | None = (0, 0)  # epoch and step of the newest checkpoint, if it was written
        self._last_best = {name: getattr(self.progress, name) for name in BEST}  # of before, should its writing fail
        self._save_at, self._mark = math.inf, 0.0
        per_unit = config.batch * config.steps_per_schedule
        self.queue = WorkQueue(task.shards(), per_unit, config.seed)
        self.records = sum(shard.records for shard in task.shards())
        self.optimizer = optimizers.build(config.optimizer, config.epochs * steps_of_epoch(self.records, config))
        self.optimizer.add_slots(task.tables, task.dense)
        self.average: WeightAverage | None = None
        if config.average:
            self.average = WeightAverage(task.tables, task.dense, config.average, task.as_trained)
        alone = runtime.workers == 1 and config.working_set == "auto"
        self.local = runtime.ps_devices != [None] and (config.working_set == "on" or alone)
        self._functions: dict[tuple[bool, int], Function] = {}

    @property
    def epochs(self) -> int:
        """Of both phases."""
        return self.task.pretrain_epochs + self.config.epochs

    @property
    def _pretraining(self) -> bool:
        return self.progress.epoch < self.task.pretrain_epochs

    @property
    def _phase_step(self) -> int:
        """Steps since pre-training, by which the side process knows them."""
        return 0 if self._pretraining else self.progress.step - self.progress.phase_step

    def run(self) -> Progress:
        """Trains until the epochs are done or validation stops improving; returns where it ended.

        On SIGTERM or SIGINT it writes a checkpoint, inside the epoch, and then the signal takes its usual way.

        Raises:
          OSError: the last checkpoint could not be written. Training goes on without one before.
          FloatingPointError: the loss is no number.
          ConnectionError: the side process of a language model could not be reached, or refused a step.
        """
        self.monitor.servers(server_bytes(self.task.tables, self.task.dense, self.runtime.ps_devices))
        with Stopping(self.config.grace_seconds) as stopping:
            self._resume()
            if self.task.link is not None:
                self.task.link.begin(self._phase_step)
            board = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
            try:
                while self.progress.epoch < self.epochs and not self.progress.stopped:
                    if not self._epoch(stopping, board):
                        break
            except tf.errors.InvalidArgumentError as error:
                raise rpc.told(error) or error from None
            board.close()
            error = self._settle()
            if stopping.requested:
                tqdm.write(f"{self.folder.name}: stopped at step {self.progress.step}; the same command goes on")
            elif error:
                raise error
        return self.progress

    def _epoch(self, stopping: Stopping, board: tf.summary.SummaryWriter) -> bool:
        """Trains to the end of the epoch, validates and saves; False when asked to stop."""
        if not self._train(stopping):
            self._save()
            return False
        self.queue.next_epoch()
        progress, config = self.progress, self.config
        entry = progress.end_epoch()
        after = progress.epoch - self.task.pretrain_epochs  # epochs since pre-training
        if after == 0:
            self._end_pretraining()
        if self.average and after > 0:
            self.average.update(after + bool(progress.start))
        last = progress.epoch == self.epochs
        validate = last or (after > 0 and after % config.validate_every == 0)
        if validate:
            with self.monitor.phase("validate"):
                entry |= self._validate()
        entry |= self.monitor.epoch(progress.epoch, entry["loss"], entry["seconds"])
        progress.history.append(entry)
        epoch_entry.plot(board, entry)
        if validate or progress.epoch % config.checkpoint_every == 0 or stopping.requested:
            self._save()
        tqdm.write(epoch_entry.line(entry, self.epochs))
        return not stopping.requested

    def _end_pretraining(self) -> None:
        """What follows starts from the weights alone: the optimizer forgets, and its steps count from 1."""
        self.optimizer.reset(self.task.tables, self.task.dense)
        self.progress.phase_step = self.progress.step

    def _train(self, stopping: Stopping) -> bool:
        """Trains the units of this epoch that are not done; False when asked to stop before all are.

        Before a checkpoint no new unit is given out and those under way are waited for, so that the units that
        are done are exactly those the parameters have seen.
        """
        progress, done = self.progress, self.queue.completed_records
        title = f"epoch {progress.epoch + 1}"
        self._mark, outstanding = time.monotonic(), {}
        self._save_at = self._mark + 60 * (self.config.checkpoint_minutes or math.inf)
        with tqdm(total=self.records, initial=done, desc=title, unit=" rows", leave=False) as bar:
            while not self.queue.finished:
                pause = stopping.requested or self._save_is_due()
                while not pause and len(outstanding) < AHEAD * self.runtime.workers and (unit := self.queue.take()):
                    outstanding[self._schedule(unit)] = unit
                self.monitor.queue(self.queue.units - self.queue.completed - len(outstanding), len(outstanding))
                with self.monitor.phase("wait"):
                    ended = self.runtime.done(outstanding, 0.2)
                for result in ended:
                    self._collect(outstanding.pop(result), result, bar)
                if stopping.requested and (stopping.overdue or not outstanding):
                    progress.running.repeated += sum(unit.records for unit in outstanding.values())
                    break
                if pause and not outstanding and not self.queue.finished:
                    self._save()
        self._tick()
        return self.queue.finished

    def _schedule(self, unit: WorkUnit) -> Result:
        steps = -(-unit.records // self.config.batch)
        first = self.progress.step - self.progress.phase_step + 1
        self.progress.step += steps
        files, firsts, counts, seed = unit.arguments()
        arguments = (tf.constant(files), tf.constant(firsts), tf.constant(counts), tf.constant(seed))
        known = (self._pretraining, steps) in self._functions
        clients = [] if self._pretraining else self.task.clients
        with self.monitor.phase("schedule" if known else "compile"):
            function = self._function(steps)
            return self.runtime.schedule(function, (*arguments, tf.constant(first, tf.int64), *clients))

    def _collect(self, unit: WorkUnit, result: Result, bar: tqdm) -> None:
        losses, counts, told = result.fetch()
        if not np.isfinite(losses).all():
            raise FloatingPointError(
                f"{self.folder.name}: the loss is {losses[~np.isfinite(losses)][0]} in epoch {unit.epoch + 1}; "
                f"lower optimizer.learning_rate (now {self.config.optimizer.learning_rate})"
            )
        self.queue.done(unit)
        self.monitor.unit(result, len(losses), unit.records)
        running = self.progress.running
        running.add(losses, counts, unit.records, told)
        if result.attempts > 1:
            running.repeated += (result.attempts - 1) * unit.records
            tqdm.write(
                f"a worker was lost: unit {unit.index} of epoch {unit.epoch + 1} was run again; "
                f"at most {unit.records} examples count twice"
            )
        bar.update(unit.records)
        bar.set_postfix(loss=f"{losses[-1]:.4f}")

    def _function(self, steps: int) -> Function:
        """The work of one scheduled call of this phase, of so many steps."""
        key = (self._pretraining, steps)
        if key not in self._functions:
            workers = self.runtime.workers if self.local else 0
            self._functions[key] = self.task.unit(self.optimizer, steps, workers, self._pretraining)
        return self._functions[key]

    def _validate(self) -> dict[str, float]:
        values = self.task.validate()
        self._settle()  # what the best was before is then known to be on the disk
        progress = self.progress
        found = values[self.task.selection]
        if progress.best_checkpoint == "" or found > progress.best:
            self._last_best = {name: getattr(progress, name) for name in BEST}
            progress.best, progress.best_epoch = found, progress.epoch
            progress.best_checkpoint = f"ckpt-{progress.step}"
        elif self.config.patience:
            waited = (progress.epoch - progress.best_epoch) // self.config.validate_every
            progress.stopped = waited >= self.config.patience
        return {f"valid/{name}": value for name, value in values.items()}

    def _save(self) -> None:
        """Begins a checkpoint of the parameters as they are, unless the newest one is of here."""
        progress = self.progress
        here = (progress.epoch, progress.step)
        if here == self._saved:
            return
        self._settle()
        self._tick()
        state = {**progress.state(), "queue": self.queue.state()}
        with self.monitor.phase("checkpoint"):
            if self.task.link is not None and not self._pretraining:
                # First: a checkpoint of ours without one of the side process's could not be gone on from.
                there = [step - progress.phase_step for step in checkpoint.steps(self.checkpoints)]
                self.task.link.checkpoint(self._phase_step, [step for step in there if step > 0])
            self.writer.save(self.task.tables, self.task.dense, state, progress.best_checkpoint)
        self._saved = here
        self._save_at = time.monotonic() + 60 * (self.config.checkpoint_minutes or math.inf)

    def _save_is_due(self) -> bool:
        moved = (self.progress.epoch, self.progress.step) != self._saved
        return moved and time.monotonic() > self._save_at and not self.writer.busy

    def _settle(self) -> OSError | None:
        """Waits for the checkpoint that is being written; one that failed is not the best."""
        error = self.writer.settle()
        if error and self.progress.best_checkpoint == f"ckpt-{self._saved[1]}":
            vars(self.progress).update(self._last_best)
        self._saved = None if error else self._saved
        return error

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.running.seconds += now - self._mark
        self._mark = now

    def _resume(self) -> None:
        newest = checkpoint.newest(self.checkpoints)
        if newest is None:
            self.progress.start = self.task.start(self.optimizer, self.average)
            return
        state = checkpoint.restore(newest, self.task.tables, self.task.dense)
        self.queue.restore(state.pop("queue"))
        self.progress = progress = Progress.of_state(state)
        self.optimizer.taken = progress.start.get("steps", 0)
        self._saved = (progress.epoch, progress.step)
        done = f"{self.queue.completed} of {self.queue.units} units done"
        tqdm.write(f"resuming {self.folder.name} from {newest.name}, epoch {progress.epoch + 1}, {done}")


def steps_of_epoch(records: int, config: LoopConfig) -> int:
    """Steps over so many records: every unit's last batch may be short."""
    whole, rest = divmod(records, config.batch * config.steps_per_schedule)
    return whole * config.steps_per_schedule + -(-rest // config.batch)
