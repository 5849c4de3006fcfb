"""Runs every model's flows on their schedules from this process: `python -m flows.serving`."""

from prefect import serve

from flows.automating import automate
from flows.deploying import deployments, forget, on_demand
from nightgate.settings import settings

if __name__ == "__main__":
    place = settings()
    forget(place)
    made = deployments(place)
    automate(place, on_demand(made))
    serve(*made, pause_on_shutdown=False, limit=2)
