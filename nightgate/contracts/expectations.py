"""Great Expectations' classes of the expectations of our own: importing this registers them with the library."""

from great_expectations.expectations.core import ExpectColumnValuesToNotBeInSet

from nightgate.contracts.drifting import FILLED, TO_BE_DECIDED, TO_BE_INSIGNIFICANT, TO_RAISE_NO_ALARM


class ExpectDriftToRaiseNoAlarm(ExpectColumnValuesToNotBeInSet):  # type: ignore[misc] # the library is untyped here
    """Expect that no monitored column has changed beyond its limit."""

    column: str = FILLED[TO_RAISE_NO_ALARM]["column"]
    value_set: list[str] = FILLED[TO_RAISE_NO_ALARM]["value_set"]


class ExpectDriftToBeDecided(ExpectColumnValuesToNotBeInSet):  # type: ignore[misc] # the library is untyped here
    """Expect that each monitored column had rows enough to tell."""

    column: str = FILLED[TO_BE_DECIDED]["column"]
    value_set: list[str] = FILLED[TO_BE_DECIDED]["value_set"]


class ExpectDriftToBeInsignificant(ExpectColumnValuesToNotBeInSet):  # type: ignore[misc] # the library is untyped here
    """Expect that no monitored column has changed beyond chance, however little."""

    column: str = FILLED[TO_BE_INSIGNIFICANT]["column"]
    value_set: list[str] = FILLED[TO_BE_INSIGNIFICANT]["value_set"]
