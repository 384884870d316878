"""Our SASRec for `benchmarks/train.py`: one call of the training stage in a process of its own.

    python -m benchmarks._antiphon_sasrec EXAMPLES MODEL TRAIN_CONFIG_JSON [EVALUATION]

The last line is JSON: the epochs in the model's history, and with EVALUATION the test metrics too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from antiphon.parse import convert
from trainer.config import EvaluateConfig, TrainConfig


def main() -> None:
    examples, model, settings, *evaluation = sys.argv[1:]
    from trainer import evaluate, train

    train.run(Path(examples), None, Path(model), convert(json.loads(settings), TrainConfig, "train"))
    answer = {"epochs": json.loads((Path(model) / "history.json").read_text())["epochs"]}
    if evaluation:
        options = EvaluateConfig(cutoffs=(5, 10), bootstrap=100)
        answer["metrics"] = evaluate.run(Path(examples), Path(model), Path(evaluation[0]), options)["test"]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
