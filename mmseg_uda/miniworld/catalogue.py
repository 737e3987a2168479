"""All domains of the miniature world by name."""

from __future__ import annotations

from mmseg_uda.errors import UserError
from mmseg_uda.miniworld.domains import DOMAINS, Domain
from mmseg_uda.miniworld.unseen import UNSEEN


def get_domain(name: str) -> Domain:
    """The domain of that name.

    Raises:
        UserError: There is none.
    """
    known = {**DOMAINS, **UNSEEN}
    if name not in known:
        raise UserError(
            f"The miniature world has no domain '{name}'.", fix=f"Use {', '.join(known)}."
        )
    return known[name]
