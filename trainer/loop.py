"""The training loop: the same in this process and on a parameter-server cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from trainer import checkpoint, metrics, optimizers
from trainer.averaging import SLOT, WeightAverage
from trainer.cluster.ranking import ranking
from trainer.cluster.strategy import Result, Runtime
from trainer.cluster.work_queue import WorkQueue, WorkUnit
from trainer.config import TrainConfig
from trainer.input import Examples, read_records, target_counts, training_windows
from trainer.monitor import Monitor, line, server_bytes
from trainer.read_ahead import read_ahead
from trainer.recommender import Batch, Recommender
from trainer.sampling import Popularity
from trainer.step import Step
from trainer.working_set import WorkingSet

SELECTION = "ndcg@10"
"""The validation metric that picks the best checkpoint and stops training early."""


@dataclass
class Progress:
    """What a run knows beside its parameters; saved with every checkpoint."""

    step: int = 0
    epoch: int = 0  # epochs finished
    best: float = -1.0
    best_epoch: int = 0
    best_checkpoint: str = ""
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)  # one entry an epoch


class Trainer:
    """Trains one recommender.

    Args:
      runtime: where steps run. examples: what on. folder: ``models/<variant>``; checkpoints in it are resumed.
      monitor: is told what happens; None tells it to history and TensorBoard alone.
    """

    def __init__(
        self,
        runtime: Runtime,
        examples: Examples,
        recommender: Recommender,
        folder: Path,
        config: TrainConfig,
        monitor: Monitor | None = None,
    ) -> None:
        # The graph rewriter takes most of the first call's time over unrolled steps.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        self.runtime, self.examples, self.recommender = runtime, examples, recommender
        self.folder, self.config = folder, config
        self.checkpoints = folder / "checkpoints"
        self.monitor = monitor or Monitor()
        self.progress = Progress()
        self.optimizer = optimizers.build(config.optimizer)
        recommender.add_slots(self.optimizer)
        self.average: WeightAverage | None = None
        if config.average:
            self.average = WeightAverage(recommender.tables, recommender.dense, config.average)
        alone = runtime.workers == 1 and config.working_set == "auto"
        self.local = runtime.ps_devices != [None] and (config.working_set == "on" or alone)
        per_unit = config.batch * config.steps_per_schedule
        self.queue = WorkQueue(examples.shards("train"), per_unit, config.seed)
        with self.monitor.phase("read"):
            self.popularity = self._popularity()
        self.ranking = ranking(runtime, examples, recommender, SLOT if config.average else "", keep=True)
        self._functions: dict[int, tf.types.experimental.PolymorphicFunction] = {}

    def run(self) -> Progress:
        """Trains until the epochs are done or validation stops improving; returns where it ended."""
        self.monitor.servers(server_bytes(self.recommender.tables, self.recommender.dense, self.runtime.ps_devices))
        self._resume()
        writer = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
        while self.progress.epoch < self.config.epochs and not self.progress.stopped:
            entry = self._epoch()
            last = self.progress.epoch == self.config.epochs
            validate = last or self.progress.epoch % self.config.validate_every == 0
            if validate:
                with self.monitor.phase("validate"):
                    entry |= self._validate()
            entry |= self.monitor.epoch(self.progress.epoch, entry["loss"], entry["seconds"])
            self.progress.history.append(entry)
            with writer.as_default(step=self.progress.epoch):
                for name, value in entry.items():
                    tf.summary.scalar(name, value)
            if validate or self.progress.epoch % self.config.checkpoint_every == 0:
                with self.monitor.phase("checkpoint"):
                    self._save()
            tqdm.write(_line(entry, self.config.epochs))
        writer.close()
        return self.progress

    def _epoch(self) -> dict[str, float]:
        start, results, targets, total = time.perf_counter(), [], 0, 0.0
        bar = tqdm(total=self._records(), desc=f"epoch {self.progress.epoch + 1}", unit=" rows", leave=False)
        with bar:
            while (unit := self.queue.take()) is not None:
                results.append((unit, self._schedule(unit)))
                self.monitor.queue(self.queue.units - self.queue.completed - len(results), len(results))
                while len(results) > 2 * self.runtime.workers:
                    total, targets = self._collect(results.pop(0), total, targets, bar)
            while results:
                total, targets = self._collect(results.pop(0), total, targets, bar)
        self.queue.next_epoch()
        self.progress.epoch += 1
        if self.average:
            self.average.update(self.progress.epoch)
        seconds = time.perf_counter() - start
        return {
            "epoch": self.progress.epoch,
            "loss": total / max(targets, 1),
            "seconds": seconds,
            "targets_per_second": targets / seconds,
        }

    def _schedule(self, unit: WorkUnit) -> Result:
        steps = -(-unit.records // self.config.batch)
        first = self.progress.step + 1
        self.progress.step += steps
        files, firsts, counts, seed = unit.arguments()
        arguments = (tf.constant(files), tf.constant(firsts), tf.constant(counts), tf.constant(seed))
        with self.monitor.phase("schedule" if steps in self._functions else "compile"):
            return self.runtime.schedule(self._function(steps), (*arguments, tf.constant(first, tf.int64)))

    def _collect(
        self, job: tuple[WorkUnit, Result], total: float, targets: int, bar: tqdm
    ) -> tuple[float, int]:
        unit, result = job
        with self.monitor.phase("wait"):
            losses, counts = result.fetch()
        if not np.isfinite(losses).all():
            raise FloatingPointError(
                f"{self.folder.name}: the loss is {losses[~np.isfinite(losses)][0]} in epoch {unit.epoch + 1}; "
                f"lower optimizer.learning_rate (now {self.config.optimizer.learning_rate})"
            )
        self.queue.done(unit)
        self.monitor.unit(result, len(losses), unit.records)
        bar.update(unit.records)
        bar.set_postfix(loss=f"{losses[-1]:.4f}")
        return total + float((losses * counts).sum()), targets + int(counts.sum())

    def _function(self, steps: int) -> tf.types.experimental.PolymorphicFunction:
        """The work of one scheduled call: reads a unit's records, shuffles them, trains ``steps`` batches."""
        if steps in self._functions:
            return self._functions[steps]
        length, batch = self.config.model.max_length, self.config.batch
        recommender, loss_config = self.recommender, self.config.loss
        wire, prefetch = tf.as_dtype(self.config.wire), self.config.prefetch

        @tf.function(
            input_signature=[
                tf.TensorSpec((None,), tf.string),
                tf.TensorSpec((None,), tf.int64),
                tf.TensorSpec((None,), tf.int64),
                tf.TensorSpec((2,), tf.int64),
                tf.TensorSpec((), tf.int64),
            ]
        )
        def unit(files, firsts, counts, seed, first):
            history, targets = training_windows(
                read_records(files, firsts, counts), self.examples.vocabulary, length
            )
            order = tf.argsort(tf.random.stateless_uniform((tf.shape(history)[0],), seed))
            history, targets = tf.gather(history, order), tf.gather(targets, order)
            batches = []
            for k in range(steps):
                rows = slice(k * batch, (k + 1) * batch)
                step_seed = tf.stack([seed[0], first + k])
                batches.append(
                    recommender.batch(history[rows], targets[rows], step_seed, loss_config, self.popularity)
                )
            working = None
            if self.local:
                touched = recommender.touched(batches, loss_config)
                working = WorkingSet(touched, recommender.dense, self.optimizer, self.runtime.workers, wire)

            def rows_of(k):
                return read_ahead(recommender.touched([batches[k]], loss_config), wire)

            def one(index, ahead, *parts):
                with Step(index, recommender.dense, working, wire, ahead) as step:
                    loss, count = recommender.loss(step, Batch(*parts), loss_config, self.popularity)
                step.update(loss, self.optimizer)
                return loss, count

            if prefetch:
                done, ahead = [], rows_of(0)
                for k in range(steps):
                    # Asked for before the step's update; the step, traced in place, does not wait for the answer.
                    following = rows_of(k + 1) if k + 1 < steps else {}
                    done.append(one(first + k, ahead, *batches[k]))
                    ahead = following
            else:
                step_function = tf.function(one)
                done = [step_function(first + k, None, *batches[k]) for k in range(steps)]
            if working is not None:
                working.push()
            return tf.stack([loss for loss, _ in done]), tf.stack([count for _, count in done])

        self._functions[steps] = unit
        return unit

    def _validate(self) -> dict[str, float]:
        self.ranking.refresh()
        found = self.ranking.rank("valid")
        values = {n: float(v.mean()) for n, v in metrics.per_user(found.above, found.tied, (5, 10)).items()}
        progress = self.progress
        if values[SELECTION] > progress.best:
            progress.best, progress.best_epoch = values[SELECTION], progress.epoch
            progress.best_checkpoint = f"ckpt-{progress.step}"
        elif self.config.patience:
            waited = (progress.epoch - progress.best_epoch) // self.config.validate_every
            progress.stopped = waited >= self.config.patience
        return {f"valid/{name}": value for name, value in values.items()}

    def _save(self) -> None:
        state = {**vars(self.progress), "queue": self.queue.state()}
        checkpoint.save(self.checkpoints, self.recommender.tables, self.recommender.dense, state)
        checkpoint.prune(self.checkpoints, self.config.keep_checkpoints, self.progress.best_checkpoint)

    def _resume(self) -> None:
        newest = checkpoint.newest(self.checkpoints)
        if newest is None:
            return
        state = checkpoint.restore(newest, self.recommender.tables, self.recommender.dense)
        self.queue.restore(state.pop("queue"))
        self.progress = Progress(**state)
        tqdm.write(f"resuming {self.folder.name} from {newest.name}, epoch {self.progress.epoch}")

    def _popularity(self) -> Popularity:
        if self.config.loss.kind in ("sampled_softmax", "in_batch"):
            return Popularity(target_counts(self.examples, self.config.model.max_length))
        return Popularity(np.zeros(self.examples.vocabulary.size, np.int64))

    def _records(self) -> int:
        return self.examples.count("train")


def _line(entry: dict[str, float], epochs: int) -> str:
    words = [f"epoch {entry['epoch']:>3}/{epochs}  loss {entry['loss']:.4f}  {entry['seconds']:.1f}s"]
    words += [f"{entry['targets_per_second']:,.0f} targets/s"]
    words += [f"{n.removeprefix('valid/')} {entry[n]:.4f}" for n in entry if n in ("valid/recall@10", "valid/ndcg@10")]
    return "  ".join([*words, line(entry)])
