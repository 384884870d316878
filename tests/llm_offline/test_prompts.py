import pytest

from llm_offline.prompts import Template

COLUMNS = ["item_id", "title", "categories", "year"]


def render(template, **row):
    return Template(template, COLUMNS).render(dict.fromkeys(COLUMNS) | row)


def test_values_are_plain_text():
    row = {"title": "Salt &amp;\n  Pepper &reg;", "categories": ["Hair", None, "Care"]}
    assert render("{title}. {categories}", **row) == "Salt & Pepper ®. Hair, Care"


@pytest.mark.parametrize("title", [None, "", "  \n"])
def test_a_missing_title_leaves_the_categories_alone(title):
    assert render("{title}. {categories}", title=title, categories=["Hair"]) == "Hair"


def test_a_missing_value_takes_its_label_along():
    template = "Title: {title}. Year: {year}. In: {categories}!"
    assert render(template, title="Soap", categories=["Bath"]) == "Title: Soap. In: Bath!"
    assert render(template, year=1999) == "Year: 1999!"


def test_no_value_at_all_is_no_text():
    assert render("Title: {title}. {categories}!", categories=[]) == ""


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{brand}", "received 'brand'"),
        ("{title:>9}", "received 'title'"),
        ("{}", "received ''"),
        ("soap", "needs at least one {column}, received 'soap'"),
    ],
)
def test_a_wrong_template_is_refused(template, message):
    with pytest.raises(ValueError, match=message):
        Template(template, COLUMNS)
