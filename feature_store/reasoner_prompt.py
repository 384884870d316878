"""What the language model is asked about a session of the chatbot (RGAlign-Rec §3.2), online and offline alike."""

from __future__ import annotations

import hashlib

LEAST_WORDS, MOST_WORDS = 10, 20
"""Of the question that is asked for."""

SYSTEM = "You help the service desk of an online shop. You think about a customer's situation before you answer."

_INSTRUCTION = (
    "A customer opens the help chat and has not typed anything yet. Tell which one question the customer most "
    "likely wants to ask now, from what is known about the customer.\n\n"
    "What is known: profile, order status, and what the customer did before:\n{context}\n\n"
    "Write that one question in the customer's own words, as one sentence of {least} to {most} words.\n"
    "The customer's question is:"
)
_QUERY = (
    "A customer opens the help chat and asks a question. Tell in the customer's own words what it is.\n\n"
    "The customer writes: {query}\n\nThe customer's question is:"
)


def about_session(context: str) -> str:
    """The user's prompt for a session, from its verbalised context."""
    return _INSTRUCTION.format(context=context, least=LEAST_WORDS, most=MOST_WORDS)


def about_query(query: str) -> str:
    """The user's prompt that places a written query among the sessions: it ends as `about_session` does, so the last
    token's states of both are alike but for what is asked."""
    return _QUERY.format(query=query)


def prompt_id() -> str:
    """Eight hex digits over the wording of all prompts."""
    told = "\0".join((SYSTEM, _INSTRUCTION, _QUERY, f"{LEAST_WORDS}-{MOST_WORDS}"))
    return hashlib.sha256(told.encode()).hexdigest()[:8]
