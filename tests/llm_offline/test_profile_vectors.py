import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_offline import profile_vectors
from llm_offline.profile_config import ProfileConfig, ProfileEncoderConfig
from llm_offline.profile_vectors import Fact, ProfileEmbedder, facts
from llm_offline.profile_writer import profile_id
from llm_offline.profiles import verbalised

DAY = 86_400_000_000
PROFILE = """Age: 30.
Purchases of the last 7 days: Baby (3), cots (1).
Recent searches: red pram; tea."""
VECTORS = {
    "Age: 30.": (3, 0), "Age:": (0, 0), "goods": (1, 1), "Baby": (1, 2), "cots": (2, 1), "red pram": (1, 1),
    "tea": (0, 1),
}  # fmt: skip


@pytest.fixture
def by_table(monkeypatch):
    """An encoder of `VECTORS`; what it was asked for."""
    asked = []

    class Table:
        width = 2

        def __init__(self, config):
            pass

        def encode(self, texts):
            asked.append(list(texts))
            return np.array([VECTORS[text] for text in texts], np.float32).reshape(-1, 2)

    monkeypatch.setattr(profile_vectors, "Embedder", Table)
    return asked


def test_a_line_is_a_fact_and_so_is_each_entry_of_a_list():
    assert facts(PROFILE + "\nKey interests: Toys, prams.\nno name", "goods") == [
        Fact(False, "Age: 30.", "Age:"),
        Fact(True, "Baby", "goods", pytest.approx(np.log(4))),
        Fact(True, "cots", "goods", pytest.approx(np.log(2))),
        Fact(True, "red pram", "goods", pytest.approx(np.log(2))),
        Fact(True, "tea", "goods", pytest.approx(np.log(2))),
        Fact(True, "Key interests: Toys, prams.", "Key interests:"),
        Fact(False, "no name", "goods"),
    ]


def test_who_a_user_is_and_what_it_does_are_summed_apart(by_table):
    vectors = ProfileEmbedder(ProfileConfig()).encode([PROFILE, "Age: 30.", "Recent searches: red pram."])
    log2, log4 = np.log(2), np.log(4)
    does = np.array([log2 - log2, log4])  # Baby (0, 1) four times over, cots (1, 0), red pram (0, 0), tea (-1, 0)
    does /= np.linalg.norm(does)
    assert vectors == pytest.approx(np.array([[1, 0, *does], [1, 0, 0, 0], [0, 0, 0, 0]]), abs=1e-6)


def test_a_fact_is_encoded_once(by_table):
    encoder = ProfileEmbedder(ProfileConfig())
    first, again = encoder.encode([PROFILE]), encoder.encode([PROFILE])
    assert (first == again).all()
    assert sorted(text for texts in by_table for text in texts) == sorted(VECTORS)


def test_whole_texts_go_through_the_encoder_as_they_are(tiny_llm):
    config = ProfileConfig(encode="whole", encoder=ProfileEncoderConfig(model=str(tiny_llm)))
    whole, apart = ProfileEmbedder(config), ProfileEmbedder(ProfileConfig(encoder=config.encoder))
    assert apart.width == 2 * whole.width
    assert whole.encode([PROFILE]).shape == (1, whole.width)
    assert apart.encode([PROFILE]).shape == (1, apart.width)
    assert np.linalg.norm(apart.encode([PROFILE]).reshape(2, -1), axis=1) == pytest.approx([1, 1], abs=1e-5)


NAMES = st.text(st.characters(categories=["L"]), min_size=1, max_size=5)


@given(
    st.dictionaries(NAMES, NAMES, max_size=3),
    st.lists(st.tuples(st.integers(1, 60), NAMES), max_size=6),
    st.lists(NAMES, max_size=3, unique=True),
)
def test_the_facts_are_what_was_verbalised(attributes, bought, sought):
    config = ProfileConfig(categories=99, searches=99)
    purchases = [(60 * DAY - days * DAY, [name]) for days, name in bought]
    text = verbalised(attributes, purchases, [(0, query) for query in sought], 60 * DAY, config)
    found = facts(text, "goods")
    assert [fact.text for fact in found if not fact.behaviour] == [
        f"{name.capitalize()}: {value}." for name, value in attributes.items()
    ]
    does = [fact for fact in found if fact.behaviour]
    counted = sum(round(np.expm1(fact.weight)) for fact in does)
    assert counted == len(bought) + len(sought)
    assert {fact.text for fact in does} == {name for _, name in bought} | set(sought)


def test_a_profiles_id_names_what_makes_its_vector():
    encoder = ProfileEncoderConfig(layers=1)
    template = profile_id(ProfileConfig(encoder=encoder))
    assert template.startswith("template/facts of goods/minilm")
    cut = profile_id(ProfileConfig(encoder=ProfileEncoderConfig(layers=1, dimensions=64)))
    assert cut != template and "dimensions=64" in cut
    assert profile_id(ProfileConfig(encoder=encoder, categories=2)) == template  # the text tells
