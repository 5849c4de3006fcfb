"""The gate of the drift boundary: expectations of our own over the drift table, whose verdict is the policy's."""

import json
from pathlib import Path

import pandas as pd
import pytest

from nightgate.contracts.great import great_expectations
from nightgate.contracts.inference import drift_contract
from nightgate.contracts.suites import parse_suite
from nightgate.drift.policy import VERDICTS, ColumnDrift, TableDrift
from nightgate.errors import ContractBroken
from nightgate.watching import drift_suite, gate_drift, let_pass, look
from tests.projects import edit_contract, project, run_plainly, settings_of


def table(*verdicts: str) -> TableDrift:
    return TableDrift("credit", 600, True, [ColumnDrift(f"c{place}", verdict, 0.2, 0.1, "it moved", 0.5) for place, verdict in enumerate(verdicts)])


@pytest.mark.parametrize("others", [(), ("quiet", "watch"), ("undecided",)])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_gate_stops_where_the_policy_alarms_and_nowhere_else(verdict: str, others: tuple[str, ...], tmp_path: Path) -> None:
    place, found = settings_of(tmp_path), table(verdict, *others)

    gate = gate_drift(place, drift_suite(place, "credit"), found)

    assert gate.success == (found.alarm == 0) and gate.errored == 0
    warned = {each.type for each in gate.results if not each.success and not each.stops}
    seen = {verdict, *others}
    assert warned == {name for name, kind in (("expect_drift_to_be_decided", "undecided"), ("expect_drift_to_be_insignificant", "watch")) if kind in seen}


def test_a_column_is_spared_by_a_condition(tmp_path: Path) -> None:
    place = settings_of(tmp_path)
    suite = drift_contract("credit")
    suite["expectations"][1]["kwargs"]["row_condition"] = "column != 'c0'"
    (place.contracts_of("credit")).mkdir(parents=True)
    (place.contracts_of("credit") / "drift.json").write_text(json.dumps(suite))

    own = drift_suite(place, "credit")

    assert gate_drift(place, own, table("alarm", "quiet")).success
    assert not gate_drift(place, own, table("quiet", "alarm")).success


def test_the_library_itself_takes_the_suite_and_finds_the_same(tmp_path: Path) -> None:
    gx = great_expectations()
    context = gx.get_context(mode="ephemeral")
    suite = context.suites.add(gx.ExpectationSuite(**{key: drift_contract("credit")[key] for key in ("name", "expectations")}))
    frame = pd.DataFrame({"column": ["c0", "c1", "c2"], "verdict": ["quiet", "watch", "alarm"]})
    batch = context.data_sources.add_pandas("x").add_dataframe_asset("x").add_batch_definition_whole_dataframe("x").get_batch({"dataframe": frame})

    result = batch.validate(suite)

    assert {each.expectation_config.type: bool(each.success) for each in result.results} == {
        "expect_table_row_count_to_be_between": True, "expect_drift_to_raise_no_alarm": False, "expect_drift_to_be_decided": True,
        "expect_drift_to_be_insignificant": False}
    assert parse_suite(drift_contract("credit"), place="drift").checks[1].columns == ("verdict",)


def test_a_rule_that_cannot_run_stops_the_night_and_asks_for_no_retraining(tmp_path: Path) -> None:
    place = project(tmp_path)
    run_plainly(place)
    edit_contract(place, "drift", {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "nope"}, "meta": {}})

    found = look(place, "credit")

    assert not found.night.success and not found.asks
    with pytest.raises(ContractBroken, match="There is no column `nope`"):
        let_pass(found)
