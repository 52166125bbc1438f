"""What Alembic runs to apply migrations, or to compare the tables with the models."""

from __future__ import annotations

from alembic import context

from cloudseed.db.models import Base
from cloudseed.db.schema import VERSION_TABLE


def run() -> None:
    """Runs migrations in the transaction that `cloudseed.db.schema` hands over."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        # SQLite rolls tables back too, where the driver leaves BEGIN to us.
        transactional_ddl=True,
        render_as_batch=True,
    )
    context.run_migrations()


# Alembic loads this file under this name; importing it as part of the package runs nothing.
if __name__ == "env_py":
    run()
