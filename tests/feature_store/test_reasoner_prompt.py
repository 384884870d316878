from feature_store import reasoner_prompt


def test_both_prompts_end_where_the_question_is_to_begin():
    session, query = reasoner_prompt.about_session("Order: SHIPPED"), reasoner_prompt.about_query("Where is my parcel?")
    assert "Order: SHIPPED" in session and "10 to 20 words" in session
    assert "Where is my parcel?" in query
    assert session.endswith("The customer's question is:") and query.endswith("The customer's question is:")


def test_braces_in_a_context_stay_as_they_are():
    assert "{x} {context}" in reasoner_prompt.about_session("{x} {context}")


def test_the_id_is_of_the_wording(monkeypatch):
    before = reasoner_prompt.prompt_id()
    assert before == reasoner_prompt.prompt_id() and len(before) == 8
    monkeypatch.setattr(reasoner_prompt, "SYSTEM", "another")
    assert reasoner_prompt.prompt_id() != before
