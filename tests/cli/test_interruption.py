"""Ctrl-C ends a run even where the code it met swallowed it."""

import contextlib
import logging
import os
import signal
from collections.abc import Iterator

import pytest

from nightgate.cli.main import Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    """Give an interruption that Ctrl-C reaches, and put back what was there."""
    made, before = Interruption(), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, made)
    yield made
    signal.signal(signal.SIGINT, before)


def test_a_swallowed_interrupt_is_raised_before_the_next_stage(interruption: Interruption) -> None:
    begun = logging.Logger("begun")
    begun.addFilter(interruption.let_begin)
    begun.info("collect")

    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        begun.info("train")
