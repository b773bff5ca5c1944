"""Corrections: segmentations that a person made, kept beside those of the models and taken instead of them.

A correction is a segmentation with an author; what stands in `model_digest` is the digest of its content. It comes
unchecked and gets its verdict like any other, so that its history is in ``status_changes``. It *counts* while it is
``approved`` or ``nobody``. What the tables hold off by themselves:

- two corrections of one picture that count at the same time;
- an author who is changed afterwards.

The checks of SHA-256 are said anew in a way that PostgreSQL does ten times as fast: they were most of what it cost to
write a segmentation.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROLE = "silhouette_correct"  # who hands in corrected masks: a reviewer who may write contours
RIGHTS = (
    "silhouette_review",
    "INSERT (picture_sha256, model_digest, width, height, people_count, author) ON segmentations",
    "INSERT ON people",
)
SHA256_COLUMNS = (
    ("segmentations", "picture_sha256"),
    ("segmentations", "model_digest"),
    ("labels", "picture_sha256"),
)


def upgrade() -> None:
    """Add the author, the rule that one correction counts, and the role."""
    _check_sha256s("octet_length({0}) = 64 AND {0} !~ '[^0-9a-f]'")
    op.execute(
        """
        ALTER TABLE segmentations
            ADD COLUMN author text NOT NULL DEFAULT '' CHECK (char_length(author) <= 200 AND author = btrim(author))
        """
    )
    op.execute("COMMENT ON COLUMN segmentations.author IS 'who drew it; empty: the model did'")
    op.execute(
        """
        CREATE UNIQUE INDEX segmentations_one_correction_counts ON segmentations (picture_sha256)
        WHERE author <> '' AND status IN ('approved', 'nobody')
        """
    )
    op.execute(
        """
        CREATE FUNCTION keep_author() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'a segmentation must stay that of its author, % would not; add another', OLD.id
                USING ERRCODE = 'check_violation';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER segmentations_author BEFORE UPDATE ON segmentations FOR EACH ROW
        WHEN (NEW.author <> OLD.author) EXECUTE FUNCTION keep_author()
        """
    )
    # a new segmentation comes unchecked, so what a model adds is never looked up in the index above
    op.execute("ALTER PROCEDURE grant_step_rights() RENAME TO grant_step_rights_before_corrections")
    op.execute(
        f"""
        CREATE PROCEDURE grant_step_rights() LANGUAGE plpgsql AS $$
        BEGIN
            CALL grant_step_rights_before_corrections();
            {_granted()}
        END $$
        """
    )
    op.execute("CALL grant_step_rights()")


def _check_sha256s(rule: str) -> None:
    for table, column in SHA256_COLUMNS:
        name = f"{table}_{column}_check"
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({rule.format(column)})")


def _granted() -> str:
    grants = " ".join(f"GRANT {right} TO {ROLE};" for right in RIGHTS)
    # roles belong to the whole server: another database may have made it, or be making it now
    return f"""
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
                CREATE ROLE {ROLE} NOLOGIN;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING 'an administrator must CREATE ROLE {ROLE} NOLOGIN, % may not; then CALL'
                    ' grant_step_rights(), until then that step needs the login of the owner', current_user;
        END;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}')
            AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'silhouette_review') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO {ROLE}', current_schema());
            {grants}
        END IF;
    """  # noqa: S608  our names


def downgrade() -> None:
    """Drop the corrections and their authors; the audit keeps what was decided about them."""
    op.execute(
        f"""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
                EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM {ROLE}', current_schema());
                EXECUTE format('REVOKE ALL ON SCHEMA %I FROM {ROLE}', current_schema());
            END IF;
        END $$
        """  # noqa: S608  our names
    )
    op.execute("DROP PROCEDURE grant_step_rights")
    op.execute("ALTER PROCEDURE grant_step_rights_before_corrections() RENAME TO grant_step_rights")
    op.execute("DROP TRIGGER segmentations_author ON segmentations")
    op.execute("DROP FUNCTION keep_author")
    op.execute("ALTER TABLE segmentations DISABLE TRIGGER segmentations_go_unchecked")
    op.execute("DELETE FROM segmentations WHERE author <> ''")
    op.execute("ALTER TABLE segmentations ENABLE TRIGGER segmentations_go_unchecked")
    op.execute("DROP INDEX segmentations_one_correction_counts")
    op.execute("ALTER TABLE segmentations DROP COLUMN author")
    _check_sha256s("{0} ~ '^[0-9a-f]{{64}}$'")
