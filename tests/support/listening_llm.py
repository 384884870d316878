"""`antiphon llm` that also writes down the titles that it makes texts of: a JSON line a request.

`python listening_llm.py FILE ARGUMENTS` is `antiphon ARGUMENTS`; a line says what asked ("forward" in training, "know"
in validation and test) and for each user which titles. What is drawn of the catalogue at the beginning is of no user.
"""

import json
import sys
from pathlib import Path

from antiphon import cli
from llm_offline.knowledge import link_server, titles

heard, asking = Path(sys.argv[1]), []


def noted(method, name):
    real = getattr(link_server.LinkService, method)

    def call(self, *arguments):
        asking[:] = [name]
        return real(self, *arguments)

    setattr(link_server.LinkService, method, call)


def texts(self, history, real=titles.Titles.texts):
    told = [[self._titles[item] for item in row if item] for row in history.tolist()]
    if asking:
        with heard.open("a") as file:
            file.write(json.dumps([asking[0], told]) + "\n")
    return real(self, history)


if __name__ == "__main__":
    for method, name in (("forward", "forward"), ("replay", "forward"), ("know", "know")):
        noted(method, name)
    titles.Titles.texts = texts
    sys.exit(cli.main(sys.argv[2:]))
