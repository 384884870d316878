from xml.etree import ElementTree

from antiphon.html import Markup, element, join, table


def test_text_is_escaped_and_markup_is_not():
    assert element("b", "<i>&'\"") == "<b>&lt;i&gt;&amp;&#x27;&quot;</b>"
    assert element("b", Markup("<i></i>")) == "<b><i></i></b>"


def test_attributes_are_escaped_and_named_as_in_html():
    assert (
        element("p", class_="a", aria_label='"x"', id=None) == '<p class="a" aria-label="&quot;x&quot;"></p>'
    )


def test_children_are_joined_in_order_and_none_is_left_out():
    assert join(["a", None, 3, [element("i"), "<"]]) == "a3<i></i>&lt;"


def test_a_table_s_first_column_names_its_rows():
    root = ElementTree.fromstring(table(["Model", "R@5"], [["<ids>", 0.5]]))
    assert [cell.text for cell in root.iter("th")] == ["Model", "R@5", "<ids>"]
    assert [cell.text for cell in root.iter("td")] == ["0.5"]
