"""Alerts: what `nightgate watch` finds goes out through Prefect's own notification blocks.

It lives beside the server that it watches: where that does not answer, this is a cause of its own.
"""

import os
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import shorten

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.notifications import AppriseNotificationBlock
from pydantic import SecretStr

from nightgate.addresses import without_secrets
from nightgate.alerts import LONGEST, Cause, causes, fresh, remember
from nightgate.errors import UsageError, bounded
from nightgate.settings import Settings

CHANNELS = "NIGHTGATE_ALERTS"
"""Where alerts go, separated by spaces: names of notification blocks such as `slack-webhook/ops`, or Apprise URLs such as
`mailtos://user:password@host?to=ops@example.com` and `jsons://host/hook`, which need no server."""

LONGEST_TITLE = 80


def watch(place: Settings) -> tuple[list[Cause], list[Cause]]:
    """Tell what is new to whoever shall hear it; return all causes, and those that were told now.

    What no channel took is new the next time, and each channel that took nothing is a cause.
    """
    channels = os.environ.get(CHANNELS, "").split()
    found = [*_silent_server(), *causes(place, datetime.now(UTC))]
    new = fresh(place, found)
    unheard = tell(new, channels)
    remember(place, [each for each in found if each not in new] if channels and len(unheard) == len(channels) else found)
    return [*found, *unheard], [*new, *unheard]


def tell(new: Sequence[Cause], channels: Sequence[str]) -> list[Cause]:
    """Send one message a cause through each channel; return a cause a channel that failed. Raises UsageError for one that is none."""
    unheard = []
    for channel, block in [(channel, _block(channel)) for channel in channels]:
        try:
            with block.raise_on_failure():
                for cause in new:
                    block.notify(cause.message, subject=f"Nightgate: {titled(cause)}")  # type: ignore[unused-coroutine] # none in a loop
        except Exception as error:  # a block is anybody's code, and the other channels are to be told
            why = " ".join(without_secrets(str(getattr(error, "log", error)), channel).split())
            name = channel.partition("://")[0]  # what follows may be a token
            unheard.append(Cause(f"channel {name}", f"{CHANNELS}: `{name}` takes no message: "
                                 f"{bounded(why, LONGEST) or type(error).__name__}"))
    return unheard


def titled(cause: Cause) -> str:
    """Return a message's first sentence, or as many of its words as a title has room for."""
    return shorten(cause.message.partition(". ")[0], LONGEST_TITLE, placeholder=" …")


def _block(channel: str) -> NotificationBlock:
    if "://" in channel:
        return AppriseNotificationBlock(url=SecretStr(channel), notify_type="warning")
    try:
        block = Block.load(channel)
    except ValueError:
        raise UsageError(f"There is no notification block `{channel}`.", remedy="`prefect block ls` lists them.") from None
    if not isinstance(block, NotificationBlock):
        raise UsageError(f"`{channel}` is a {type(block).__name__}, no notification block.", remedy="`prefect block ls` lists them.")
    return block


def _silent_server() -> list[Cause]:
    """Say so when the server that is named does not answer."""
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        return []
    try:
        urllib.request.urlopen(f"{address}/health", timeout=10).close()
    except OSError as error:
        return [Cause("server", f"Prefect's server at {address} does not answer ({error}): no night runs. `nightgate up` starts it.")]
    return []
