"""For how long a flow has to know the ids of what is closed, by what the log tells."""

from typing import Any

from domain.definition_parsing import parse_definition

# Event time is written down once a minute of it has passed.
_UNRECORDED_US = 60_000_000


class Memory:
    """What one stream remembers."""

    def __init__(self, tenant_id: str, reconciliation_id: str) -> None:
        self._scope = (tenant_id, reconciliation_id)
        self._definition: dict[str, Any] | None = None
        self._forgotten_us: int | None = None
        self.watermark_us: int | None = None

    def define(self, definition: dict[str, Any], forgotten_us: int | None) -> None:
        """Go on under another definition; what was forgotten until then is not known again by it.

        Args:
            forgotten_us: What `forgotten_before_us` gave until then.
        """
        self._forgotten_us = forgotten_us
        self._definition = definition

    def forgotten_before_us(self) -> int | None:
        """Before which event time ids of closed transactions need no longer be known.

        They are for `window.remember`; since event time is not recorded at every step, the flow
        may have forgotten them a little earlier than the log tells.

        Raises:
            DefinitionInvalid: The one in force cannot be read.
        """
        if self.watermark_us is None or self._definition is None:
            return self._forgotten_us
        window = parse_definition(self._definition, *self._scope).window
        before_us = self.watermark_us + _UNRECORDED_US - window.remember_us
        return before_us if self._forgotten_us is None else max(before_us, self._forgotten_us)
