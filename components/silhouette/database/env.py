"""What alembic loads to run migrations: takes the open connection of `migrations.migrate`, holds the lock."""

from alembic import context
from sqlalchemy import text

from silhouette.database.migrations import LOCK_ID

connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": LOCK_ID})
    context.run_migrations()
