"""Runs every model's flows on their schedules from this process: `python -m flows.serving`."""

from prefect import serve

from flows.deploying import deployments, forget
from nightgate.settings import settings

if __name__ == "__main__":
    place = settings()
    forget(place)
    serve(*deployments(place), pause_on_shutdown=False, limit=2)
