"""The fields of another API in the errors of `semserve.v1`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from semserve_server.errors import InvalidRequest, Violation


@contextlib.contextmanager
def fields_renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Translate the fields in an error of `semserve.v1` to the fields of this API.

    Args:
        names: a field, such as `texts[0]`, and its name in this API.
    """
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(
            *(
                Violation(names.get(one.field, one.field), one.description)
                for one in error.violations
            )
        ) from None
