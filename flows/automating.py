"""Automations: what Prefect's server starts by itself when an event comes."""

from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from nightgate.operations import RETRAINING_ASKED
from nightgate.settings import Settings


def automation_of(root: Path) -> str:
    """Return the name of a project's automation."""
    return f"Nightgate: retrain what has drifted, {root}"


def automate(place: Settings, retraining: UUID) -> str:
    """Let the event of monitoring start the retraining of its model, with the reason; return the automation's name.

    There is one such automation a project, however often this is called.
    """
    name = automation_of(place.root)
    wanted = AutomationCore(
        name=name, description="Monitoring asks ever more rarely while in vain; a challenger serves only if it is shown to be better.",
        trigger=EventTrigger(expect={RETRAINING_ASKED}, match={"prefect.resource.id": "nightgate.model.*"}, posture=Posture.Reactive,
                             threshold=1),
        actions=[RunDeployment(source="selected", deployment_id=retraining,
                               parameters={each: _from_event(each) for each in ("model", "reason")})])
    with get_client(sync_client=True) as client:
        if not client.read_automations_by_name(name):
            client.create_automation(wanted)
        first, *others = sorted(client.read_automations_by_name(name), key=lambda each: str(each.id))
        for other in others:  # another machine was as quick
            client.delete_automation(other.id)
        client.update_automation(first.id, wanted.model_copy(update={"enabled": first.enabled}))  # what somebody switched off stays off
    return name


def _from_event(key: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": "{{ event.payload." + key + " }}"}
