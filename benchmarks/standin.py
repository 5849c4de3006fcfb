"""A flow that stands in for a retraining of one second: what is measured is everything around it."""

import time

from prefect import flow


@flow(name="stand-in")
def standin(number: int) -> int:
    """Take a second."""
    time.sleep(1)
    return number
