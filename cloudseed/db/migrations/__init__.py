"""The history of the tables; Alembic runs it, `cloudseed db upgrade` starts it."""
