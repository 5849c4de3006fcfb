"""What gates found as Great Expectations' own result objects: its JSON, its stores and its Data Docs take them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.contracts.drifting import filled
from nightgate.contracts.great import great_expectations
from nightgate.contracts.mistakes import type_of
from nightgate.contracts.suites import number_of

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

SITE = "nightgate"
STRUCTURED: Mapping[str, Any] = {"expect_column_quantile_values_to_be_between": {"quantiles": [], "values": []},
                                 "expect_column_kl_divergence_to_be_less_than": None}
"""What the library's pages take for found where a sentence is none of theirs; the sentence is in the result's meta."""


@dataclass(frozen=True)
class Checked:
    """One gate of one run or night of monitoring, by its `name`: the suite's file as it was then, and the gate's result as JSON."""

    suite: Mapping[str, Any]
    result: Mapping[str, Any]
    name: str
    at: datetime


def library_result(checked: Checked) -> "ExpectationSuiteValidationResult":
    """Return the library's result of a whole suite, with a result for every expectation in the order of the file."""
    from great_expectations import __version__
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    expectations = checked.suite["expectations"]
    results = [_one(expectations[number_of(each["place"])], each) for each in checked.result["results"]]
    good = sum(bool(each["success"]) for each in checked.result["results"])
    statistics = {"evaluated_expectations": len(results), "successful_expectations": good,
                  "unsuccessful_expectations": len(results) - good, "success_percent": 100 * good / len(results) if results else 0.0}
    return ExpectationSuiteValidationResult(
        success=bool(checked.result["success"]), results=results, suite_name=_name(checked), statistics=statistics,
        meta={"run_id": _run(checked), "great_expectations_version": __version__, "active_batch_definition": {}, "batch_spec": {}})


def build(gates: Sequence[Checked], folder: Path) -> Path:
    """Build Data Docs of gates into an empty folder; return the page to begin with."""
    gx = great_expectations()
    from great_expectations.core import ExpectationSuite
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    context = gx.get_context(mode="ephemeral")
    context.add_data_docs_site(site_name=SITE, site_config={
        "class_name": "SiteBuilder", "show_how_to_buttons": False, "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}})
    for name, checked in {_name(each): each for each in gates}.items():  # the last run's version
        written = [{"type": type_of(each), "kwargs": filled(type_of(each), each["kwargs"]), "meta": each.get("meta")}
                   for each in checked.suite["expectations"]]
        context.suites.add(ExpectationSuite(name=name, expectations=written))
    for checked in gates:
        key = ValidationResultIdentifier(ExpectationSuiteIdentifier(_name(checked)), _run(checked), checked.name.replace(" ", "-"))
        context.validation_results_store.set(key, library_result(checked))
    context.build_data_docs(site_names=[SITE])
    return folder / "index.html"


def _one(expectation: Mapping[str, Any], found: Mapping[str, Any]) -> Any:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    told: dict[str, Any] = {"element_count": found["evaluated"], "unexpected_count": found["unexpected"],
                            "unexpected_percent": 100 * found["share"], "partial_unexpected_list": list(found["examples"]),
                            "observed_value": STRUCTURED.get(type_of(expectation), found["found"])}
    return ExpectationValidationResult(
        success=bool(found["success"]), result={} if found["error"] else told,
        meta={"nightgate": {"sentence": found["sentence"], "found": found["found"]}},
        expectation_config=ExpectationConfiguration(type=type_of(expectation), kwargs=filled(type_of(expectation), expectation["kwargs"])),
        exception_info={"raised_exception": bool(found["error"]), "exception_traceback": None,
                        "exception_message": found["found"] if found["error"] else None})


def _name(checked: Checked) -> str:
    return str(checked.suite.get("name") or checked.suite.get("expectation_suite_name") or checked.result["boundary"])


def _run(checked: Checked) -> Any:
    from great_expectations.core.run_identifier import RunIdentifier

    return RunIdentifier(run_name=checked.name, run_time=checked.at)


def as_library_json(checked: Checked) -> dict[str, Any]:
    """Return the library's result as the JSON that its own tools write."""
    found: dict[str, Any] = json.loads(json.dumps(library_result(checked).to_json_dict()))
    return found
