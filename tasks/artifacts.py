"""Artifacts: what people see in the Prefect UI, under keys that start with the model's name."""

from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from nightgate.contracts.gate import GateResult
from nightgate.decisions import Decision
from nightgate.nights import Night
from nightgate.records import RunRecord
from nightgate.reports.writing import Documents


def link(address: str, *, key: str, text: str) -> None:
    """Show where a page is; one on this machine as a file, which a path would make a page of Prefect's server."""
    create_link_artifact(address if "://" in address else Path(address).absolute().as_uri(), key=key, link_text=text)


def gate(about: str, result: GateResult, told: str) -> None:
    """Show what a gate said and a row per check; `about` begins with the model's name."""
    rows = [{"check": each.sentence, "held": "yes" if each.success else "NO", "found": each.found,
             "rows against it": each.unexpected, "examples": ", ".join(map(str, each.examples[:5]))}
            for each in sorted(result.results, key=lambda each: each.success)]
    verdict = "passed" if result.success else "STOPPED"
    create_table_artifact(table=rows, key=_key(about, result.boundary),
                          description=f"Gate **{result.boundary}** {verdict}: {told}")


def decision(night: Night, decided: Decision) -> None:
    create_markdown_artifact(f"## {decided.verdict}\n\n{decided.sentence}", key=_key(night.run.model, "decision"),
                             description=decided.sentence)


def release(night: Night, told: str) -> None:
    """Show whether the release is compiled, or why scikit-learn itself will serve."""
    create_markdown_artifact(f"## Release\n\n{told}.", key=_key(night.run.model, "release"), description=told)


def verdict(record: RunRecord) -> None:
    """Show how a run ended in the form that other services read."""
    row = {"verdict": record.verdict, "reason": record.reason, "run": record.run, "as_of": record.as_of, "champion": record.champion,
           "champion_before": record.champion_before, "report": record.report}
    create_table_artifact([row], key=_key(record.model, "verdict"), description=record.reason)


def documents(night: Night, written: Documents) -> None:
    """Show report and model card as Markdown, and link the file."""
    create_markdown_artifact(written.report_markdown, key=_key(night.run.model, "report"), description=f"Run {night.run.run}")
    create_markdown_artifact(written.card, key=_key(night.run.model, "card"), description=f"Model card, run {night.run.run}")
    link(written.report_address, key=_key(night.run.model, "report-file"), text=f"Report of run {night.run.run}")


def _key(*parts: str) -> str:
    """Prefect takes small letters, digits and dashes."""
    return "-".join(parts).replace("_", "-")
