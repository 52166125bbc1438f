"""Ledgers as in the tests of `cloudseed.db`."""

from tests.db.conftest import (  # noqa: F401
    postgresql_session_url,
    postgresql_url,
    server,
    sqlite_template,
    sqlite_url,
    url,
)
