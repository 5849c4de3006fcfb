"""Leaks: no feature may give the target away."""

from prefect import task

from nightgate import stages

look_for_leaks = task(name="look-for-leaks", task_run_name="look for leaks")(stages.look_for_leaks)
