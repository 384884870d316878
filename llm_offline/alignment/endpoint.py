"""A language model behind OpenAI's chat interface, as vLLM and many others serve it too."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3

from llm_offline.alignment_config import TeacherConfig
from llm_offline.chat import Prompt

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0  # seconds before the first retry, and what the doubling stops at
_SHOWN = 300  # characters of an answer that an error tells


class EndpointError(RuntimeError):
    """An endpoint did not answer as it should: says which, after how many tries, and what came of the last."""


class Endpoint:
    """Asks a served model, some prompts at a time.

    No answer in time, a refused connection, 408, 409, 425, 429 and 5xx are tried again, after waits that double, or as
    long as ``Retry-After`` says. Everything else would come again, and is an error at once.
    """

    def __init__(self, config: TeacherConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        """
        Raises:
            ValueError: the environment variable that is to hold the key is not set.
        """
        self.config = config
        self._sleep = sleep
        self._url = config.url.rstrip("/") + "/chat/completions"
        self._headers = {"content-type": "application/json"}
        if config.api_key:
            key = os.environ.get(config.api_key)
            if not key:
                raise ValueError(f"teacher.api_key: the environment variable {config.api_key} is not set")
            self._headers["authorization"] = f"Bearer {key}"
        timeout = urllib3.Timeout(connect=min(10.0, config.timeout_seconds), read=config.timeout_seconds)
        self._pool = urllib3.PoolManager(maxsize=config.parallel, retries=False, timeout=timeout)

    def answer(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer a prompt, in their order.

        Raises:
            EndpointError: one could not be had; what is under way is not waited for.
        """
        with ThreadPoolExecutor(self.config.parallel, thread_name_prefix="teacher") as threads:
            try:
                return list(threads.map(self._ask, prompts))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask(self, prompt: Prompt) -> str:
        said = [{"role": "system", "content": prompt.system}] if prompt.system else []
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": [*said, {"role": "user", "content": prompt.text}],
            "max_tokens": self.config.max_new_tokens,
            "temperature": prompt.temperature,
            "seed": prompt.draw,
        }
        content = self._content(self._post(json.dumps(body).encode()))
        return content.strip()

    def _post(self, body: bytes) -> bytes:
        wait, tries = _FIRST_WAIT, self.config.retries + 1
        for number in range(1, tries + 1):
            asked = 0.0
            try:
                answer = self._pool.request("POST", self._url, body=body, headers=self._headers)
            except urllib3.exceptions.HTTPError as error:
                what = f"{type(error).__name__}: {error}"
            else:
                if answer.status == 200:
                    return answer.data
                what = f"status {answer.status}: {_shown(answer.data)}"
                if answer.status not in (408, 409, 425, 429) and answer.status < 500:
                    raise EndpointError(f"{self._url}: {what}")
                asked = _seconds(answer.headers.get("retry-after"))
            if number < tries:
                self._sleep(max(asked, random.uniform(wait / 2, wait)))
                wait = min(2 * wait, _LONGEST_WAIT)
        raise EndpointError(f"{self._url}: no answer in {tries} tries; the last: {what}")

    def _content(self, body: bytes) -> str:
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            content = None
        if not isinstance(content, str):
            rule = "the answer must hold choices[0].message.content, received"
            raise EndpointError(f"{self._url}: {rule} {_shown(body)}")
        return content


def _seconds(header: str | None) -> float:
    """Of Retry-After, where it is a number; at most what a wait of our own is."""
    try:
        return min(float(header or 0), _LONGEST_WAIT)
    except ValueError:  # a date
        return 0.0


def _shown(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
