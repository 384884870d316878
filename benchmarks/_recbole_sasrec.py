"""RecBole's SASRec, driven by `benchmarks/train.py` from RecBole's own environment.

The first argument is a JSON object of settings; then each line on standard input is one JSON request,
answered by one JSON line on standard output:

    {"do": "train", "seconds": 20}                       -> {"targets": n, "seconds": s}
    {"do": "reach", "ndcg": 0.055, "minutes": 60}        -> {"epochs": [...], "reached": true}

Nothing of Antiphon is imported here.
"""

import json
import os
import sys
import tempfile
import time

SETTINGS = json.loads(sys.argv[1])
sys.argv = sys.argv[:1]  # RecBole reads the command line for itself
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print must not mix with the answers

import numpy as np  # noqa: E402
import torch  # noqa: E402
from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402


def write_atomic_file(sequences, folder):
    """RecBole's data format; the position in the sequence stands for the time."""
    path = os.path.join(folder, "data", "data.inter")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, items in sequences.items():
            file.writelines(f"{user}\t{item}\t{time}\n" for time, item in enumerate(items))


def build(sequences, folder):
    """Dataset, training batches and trainer, with the same model as ours."""
    write_atomic_file(sequences, folder)
    settings = {
        "data_path": folder, "checkpoint_dir": folder, "use_gpu": False, "show_progress": False,
        "state": "ERROR",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "seed": SETTINGS["seed"],
        "MAX_ITEM_LIST_LENGTH": SETTINGS["length"], "hidden_size": SETTINGS["d"],
        "inner_size": SETTINGS["inner"], "n_layers": SETTINGS["blocks"], "n_heads": SETTINGS["heads"],
        "hidden_dropout_prob": SETTINGS["dropout"], "attn_dropout_prob": SETTINGS["dropout"],
        "loss_type": "CE", "train_neg_sample_args": None, "train_batch_size": SETTINGS["batch"],
        "learning_rate": SETTINGS["learning_rate"], "eval_batch_size": 512, "topk": [10], "metrics": ["NDCG"],
        "valid_metric": "NDCG@10",
    }  # fmt: skip
    config = Config(model="SASRec", dataset="data", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, _, test = data_preparation(config, dataset)
    model = get_model("SASRec")(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
    return dataset, train, test, model, trainer


class Training:
    """RecBole's own training epoch over its own batches, stopped after a while and taken up again."""

    def __init__(self, train, trainer):
        self.train, self.trainer = train, trainer
        self.batches = None
        self.epoch = 0

    def epoch_end(self):
        """Train to the end of the epoch. Returns targets and seconds."""
        return self._run(float("inf"))

    def for_seconds(self, seconds):
        """Train for about `seconds`. Returns targets and seconds."""
        targets, spent = 0, 0.0
        while spent < seconds:
            more, took = self._run(seconds - spent)
            targets, spent = targets + more, spent + took
        return targets, spent

    def _run(self, seconds):
        if self.batches is None:
            self.batches = iter(self.train)
        targets, start = 0, time.perf_counter()

        def until():
            nonlocal targets
            for batch in self.batches:
                targets += len(batch)
                yield batch
                if time.perf_counter() - start >= seconds:
                    return
            self.batches = None
            self.epoch += 1

        self.trainer._train_epoch(until(), self.epoch)
        return targets, time.perf_counter() - start


def ndcg_at_10(dataset, test, model, sequences):
    """NDCG@10 of the last item of every user over all items, the user's earlier items excluded."""
    model.eval()
    seen = {user: dataset.token2id("item_id", np.array(items[:-1])) for user, items in sequences.items()}
    gains, users = 0.0, 0
    with torch.no_grad():
        for interaction, _, _, target in test:
            scores = model.full_sort_predict(interaction).clone()
            scores[:, 0] = -torch.inf
            names = dataset.id2token("user_id", interaction["user_id"].numpy())
            for row, name in enumerate(names):
                scores[row, seen[name]] = -torch.inf
            own = scores.gather(1, target[:, None])
            rank = (scores > own).sum(1).double() + ((scores == own).sum(1).double() - 1) / 2
            gains += float(torch.where(rank < 10, 1 / torch.log2(rank + 2), 0.0).sum())
            users += len(target)
    return gains / users


def reach(request, training, evaluate):
    """Train until NDCG@10 is reached or the time is over; evaluation is timed apart."""
    epochs, trained = [], 0.0
    while trained < 60 * request["minutes"]:
        _, seconds = training.epoch_end()
        trained += seconds
        start = time.perf_counter()
        found = evaluate()
        epochs.append(
            {"train_seconds": trained, "evaluation_seconds": time.perf_counter() - start, "ndcg@10": found}
        )
        print(
            f"RecBole epoch {len(epochs)}: {trained:.0f} s of training, NDCG@10 {found:.4f}", file=sys.stderr
        )
        if found >= request["ndcg"]:
            break
    return {"epochs": epochs, "reached": bool(epochs) and epochs[-1]["ndcg@10"] >= request["ndcg"]}


def main():
    torch.set_num_threads(SETTINGS["threads"])
    with open(SETTINGS["sequences"]) as file:
        sequences = json.load(file)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # RecBole writes its logs where it stands
        dataset, train, test, model, trainer = build(sequences, folder)
        training = Training(train, trainer)
        print(json.dumps({"ready": True, "targets_per_epoch": len(train._dataset)}), file=ANSWERS, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "train":
                targets, seconds = training.for_seconds(request["seconds"])
                answer = {"targets": targets, "seconds": seconds}
            else:
                answer = reach(request, training, lambda: ndcg_at_10(dataset, test, model, sequences))
            print(json.dumps(answer), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
