"""Reviews with their states and audit, labels of groups, who is on the badlist and why, and the least rights of steps.

What the tables hold off by themselves, whatever the client:

- a status other than ``unchecked``, ``approved``, ``rejected``, ``nobody`` (verified: no person here; what the
  segmenter found there is wrong and stays as a record only);
- a verdict without a reviewer, a rejection or a change of a verdict without a reason;
- a change that does not name the revision that was seen, so that of two reviewers none overwrites the other unseen;
- a new segmentation that comes with a verdict, a verdict moved to another picture, a deleted verdict;
- a change without its row in ``status_changes``, and any other row, change or deletion there.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# NOLOGIN: a step's own login is made a member of one of them; docs of PostgreSQL: GRANT role TO login
ROLES = ("silhouette_ingest", "silhouette_segment", "silhouette_review", "silhouette_read")
# identity columns need no right on their sequences; everybody asks which schema and which database it is
EVERYBODY = ("SELECT ON installation", "SELECT ON alembic_version")
KEPT_OF_A_PICTURE = (
    "picture_id, stamp, etag, sha256, size_bytes, width, height, object_key, working_key, working_width,"
    " working_height, phash, reason, detail, judged_by, store_id, fetched_at"
)
RIGHTS = {
    "silhouette_ingest": (
        "SELECT, INSERT ON pictures",
        f"UPDATE ({KEPT_OF_A_PICTURE}) ON pictures",
        "SELECT, INSERT ON groups, datasets, labels",
        "UPDATE (withdrawn_at) ON labels",
    ),
    "silhouette_segment": (
        "SELECT, DELETE ON segmentations",  # to do a picture again on which nobody decided
        "INSERT (picture_sha256, model_digest, width, height, people_count) ON segmentations",
        "INSERT ON people",
    ),
    "silhouette_review": (
        "SELECT ON pictures, quarantine, groups, datasets, labels, segmentations, people, status_changes",
        "UPDATE (status, reviewer, reason, revision) ON segmentations",
        "SELECT, INSERT, DELETE ON badlist",
    ),
    "silhouette_read": (
        "SELECT ON pictures, quarantine, groups, datasets, labels, segmentations, people, status_changes, badlist",
    ),
}


def upgrade() -> None:
    """Add reviews, labels and roles; verdicts that are there get their first row in the audit."""
    _reviews()
    _audit()
    _labels()
    _badlist()
    _roles()


def _reviews() -> None:
    op.execute(
        """
        ALTER TABLE segmentations
            ADD COLUMN people_count integer NOT NULL DEFAULT 0 CHECK (people_count >= 0),
            ADD COLUMN status_at timestamptz NOT NULL DEFAULT now(),
            ADD COLUMN reviewer text NOT NULL DEFAULT '' CHECK (char_length(reviewer) <= 200),
            ADD COLUMN reason text NOT NULL DEFAULT '' CHECK (char_length(reason) <= 2000),
            ADD COLUMN revision integer NOT NULL DEFAULT 0 CHECK (revision >= 0)
        """
    )
    op.execute(
        """
        UPDATE segmentations s SET
            people_count = (SELECT count(*) FROM people p WHERE p.segmentation_id = s.id),
            status_at = created_at,
            reviewer = CASE status WHEN 'unchecked' THEN '' ELSE 'unknown' END,
            reason = CASE status WHEN 'unchecked' THEN '' ELSE 'given before reasons were recorded' END,
            revision = CASE status WHEN 'unchecked' THEN 0 ELSE 1 END
        """
    )
    op.execute("COMMENT ON COLUMN segmentations.people_count IS 'rows in people: counted without reading them'")
    op.execute("COMMENT ON COLUMN segmentations.status_at IS 'since when it has this status'")
    op.execute("COMMENT ON COLUMN segmentations.revision IS 'number of changes of status; a change names the next one'")
    op.execute(
        """
        ALTER TABLE segmentations
            DROP CONSTRAINT segmentations_status_check,
            ADD CONSTRAINT segmentations_known_status
                CHECK (status IN ('unchecked', 'approved', 'rejected', 'nobody')),
            ADD CONSTRAINT segmentations_verdict_has_reviewer
                CHECK (CASE revision WHEN 0 THEN status = 'unchecked' AND reviewer = '' AND reason = ''
                       ELSE btrim(reviewer) <> '' END),
            ADD CONSTRAINT segmentations_rejection_has_reason
                CHECK (status <> 'rejected' OR btrim(reason) <> '')
        """
    )
    op.execute(
        """
        CREATE FUNCTION check_segmentation() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                RAISE EXCEPTION 'a new segmentation must be unchecked, got % at revision %; add it, then review it',
                    NEW.status, NEW.revision USING ERRCODE = 'check_violation';
            ELSIF TG_OP = 'DELETE' THEN
                RAISE EXCEPTION 'a segmentation that is removed must be unchecked, % is %; take the verdict back first',
                    OLD.id, OLD.status USING ERRCODE = 'check_violation';
            END IF;
            IF (NEW.id, NEW.picture_sha256, NEW.model_digest, NEW.created_at)
                IS DISTINCT FROM (OLD.id, OLD.picture_sha256, OLD.model_digest, OLD.created_at) THEN
                RAISE EXCEPTION 'a segmentation must stay that of its picture and model, % would not; add another',
                    OLD.id USING ERRCODE = 'check_violation';
            END IF;
            IF (NEW.status, NEW.status_at, NEW.reviewer, NEW.reason, NEW.revision)
                IS NOT DISTINCT FROM (OLD.status, OLD.status_at, OLD.reviewer, OLD.reason, OLD.revision) THEN
                RETURN NEW;
            END IF;
            IF NEW.revision <> OLD.revision + 1 THEN
                RAISE EXCEPTION 'a change of status must name the next revision, %, got %; read segmentation % again',
                    OLD.revision + 1, NEW.revision, OLD.id USING ERRCODE = 'check_violation';
            ELSIF NEW.status = 'unchecked' AND OLD.status = 'unchecked' THEN
                RAISE EXCEPTION 'an unchecked segmentation must get a verdict, % got none; leave it as it is',
                    OLD.id USING ERRCODE = 'check_violation';
            ELSIF OLD.status <> 'unchecked' AND btrim(NEW.reason) = '' THEN
                RAISE EXCEPTION 'a verdict must be changed with a reason, that of segmentation % got none; give one',
                    OLD.id USING ERRCODE = 'check_violation';
            END IF;
            NEW.status_at := clock_timestamp();
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER segmentations_come_unchecked BEFORE INSERT ON segmentations FOR EACH ROW
        WHEN (NEW.status <> 'unchecked' OR NEW.revision <> 0) EXECUTE FUNCTION check_segmentation()
        """
    )
    op.execute(
        """
        CREATE TRIGGER segmentations_change BEFORE UPDATE ON segmentations FOR EACH ROW
        EXECUTE FUNCTION check_segmentation()
        """
    )
    op.execute(
        """
        CREATE TRIGGER segmentations_go_unchecked BEFORE DELETE ON segmentations FOR EACH ROW
        WHEN (OLD.status <> 'unchecked') EXECUTE FUNCTION check_segmentation()
        """
    )


def _audit() -> None:
    # no foreign key: what was decided stays known when a segmentation, and the picture with it, has to go
    op.execute(
        """
        CREATE TABLE status_changes (
            segmentation_id bigint NOT NULL,
            revision integer NOT NULL CHECK (revision > 0),
            picture_sha256 text NOT NULL,
            model_digest text NOT NULL,
            at timestamptz NOT NULL,
            from_status text NOT NULL,
            to_status text NOT NULL,
            reviewer text NOT NULL,
            reason text NOT NULL,
            login text NOT NULL DEFAULT session_user,
            PRIMARY KEY (segmentation_id, revision)
        )
        """
    )
    op.execute("COMMENT ON TABLE status_changes IS 'every change of a segmentation''s status; only grows'")
    op.execute("COMMENT ON COLUMN status_changes.login IS 'who was connected; reviewer is who the client said it was'")
    op.execute("CREATE INDEX status_changes_picture ON status_changes (picture_sha256)")
    op.execute(
        """
        INSERT INTO status_changes
            (segmentation_id, revision, picture_sha256, model_digest, at, from_status, to_status, reviewer, reason)
        SELECT id, revision, picture_sha256, model_digest, status_at, 'unchecked', status, reviewer, reason
        FROM segmentations WHERE revision > 0
        """
    )
    # with the owner's rights, so that nobody else needs any; its search_path is fixed, or a reviewer's temporary table
    # of that name would get the rows
    op.execute(
        """
        CREATE FUNCTION record_status_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            INSERT INTO status_changes
                (segmentation_id, revision, picture_sha256, model_digest, at, from_status, to_status, reviewer, reason)
            VALUES (NEW.id, NEW.revision, NEW.picture_sha256, NEW.model_digest, NEW.status_at, OLD.status, NEW.status,
                NEW.reviewer, NEW.reason);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        DO $$ BEGIN
            EXECUTE format('ALTER FUNCTION record_status_change() SET search_path = %I, pg_temp', current_schema());
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER segmentations_changed AFTER UPDATE ON segmentations FOR EACH ROW
        WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION record_status_change()
        """
    )
    op.execute(
        """
        CREATE FUNCTION keep_status_changes() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' AND pg_trigger_depth() > 1 THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'status_changes must only grow by changes of segmentations, got %; change the status there',
                TG_OP USING ERRCODE = 'check_violation';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER status_changes_only_grow BEFORE INSERT OR UPDATE OR DELETE ON status_changes FOR EACH ROW
        EXECUTE FUNCTION keep_status_changes()
        """
    )
    op.execute(
        """
        CREATE TRIGGER status_changes_stay BEFORE TRUNCATE ON status_changes FOR EACH STATEMENT
        EXECUTE FUNCTION keep_status_changes()
        """
    )


def _labels() -> None:
    op.execute(
        """
        CREATE TABLE groups (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 1500)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE datasets (
            group_id integer NOT NULL REFERENCES groups,
            seen_at timestamptz NOT NULL,
            digest text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
            pictures integer NOT NULL CHECK (pictures >= 0),
            contents integer NOT NULL CHECK (contents BETWEEN 0 AND pictures),
            PRIMARY KEY (group_id, seen_at)
        )
        """
    )
    op.execute("COMMENT ON TABLE datasets IS 'a group''s dataset as it changed; labels have the seen_at of theirs'")
    op.execute(
        "COMMENT ON COLUMN datasets.contents IS 'pictures that differ in their bytes: reports need not count them'"
    )
    # a label that changes is withdrawn and comes anew: what a picture was called before stays known
    op.execute(
        """
        CREATE TABLE labels (
            picture_id text NOT NULL CHECK (octet_length(picture_id) <= 1500),
            group_id integer NOT NULL REFERENCES groups,
            withdrawn_at timestamptz,
            seen_at timestamptz NOT NULL,
            picture_sha256 text NOT NULL CHECK (picture_sha256 ~ '^[0-9a-f]{64}$'),
            label text NOT NULL,
            pixset_id text NOT NULL,
            split text NOT NULL CHECK (split IN ('', 'train', 'val', 'test')),
            CONSTRAINT labels_one_now UNIQUE NULLS NOT DISTINCT (picture_id, group_id, withdrawn_at)
        )
        """
    )
    op.execute("COMMENT ON COLUMN labels.withdrawn_at IS 'since when the source says otherwise; NULL: it still holds'")
    op.execute("CREATE INDEX labels_now ON labels (group_id, picture_sha256) WHERE withdrawn_at IS NULL")
    op.execute("CREATE INDEX pictures_picture_id ON pictures (picture_id)")


def _badlist() -> None:
    op.execute(
        """
        ALTER TABLE badlist
            ADD COLUMN added_by text NOT NULL DEFAULT '' CHECK (char_length(added_by) <= 200),
            ADD COLUMN reason text NOT NULL DEFAULT '' CHECK (char_length(reason) <= 2000)
        """
    )


def _roles() -> None:
    """Keep the grants as a procedure: where we may not make roles, an administrator does, and calls it again."""
    op.execute(f"CREATE PROCEDURE grant_step_rights() LANGUAGE plpgsql AS $$ BEGIN {_granted()} END $$")
    op.execute("CALL grant_step_rights()")


def _granted() -> str:
    parts = []
    for role in ROLES:
        grants = " ".join(f"GRANT {right} TO {role};" for right in (*EVERYBODY, *RIGHTS[role]))
        # labels are merged by way of a temporary table
        temporary = f"EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {role}', current_database());"
        # roles belong to the whole server: another database may have made them, or be making them now
        parts.append(
            f"""
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                    CREATE ROLE {role} NOLOGIN;
                END IF;
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'an administrator must CREATE ROLE {role} NOLOGIN, % may not; then CALL'
                        ' grant_step_rights(), until then that step needs the login of the owner', current_user;
            END;
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema());
                {temporary if role == "silhouette_ingest" else ""}
                {grants}
            END IF;
            """  # noqa: S608  our names
        )
    return "".join(parts)


def downgrade() -> None:
    """Drop labels, reviewers, reasons and the audit; pictures without people count as rejected, as nothing else fits.

    The roles stay, without rights here: other databases of the server may use them.
    """
    for role in ROLES:
        op.execute(
            f"""
            DO $$ BEGIN
                IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM {role}', current_schema());
                    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM {role}', current_schema());
                    EXECUTE format('REVOKE ALL ON DATABASE %I FROM {role}', current_database());
                END IF;
            END $$
            """  # noqa: S608  our names
        )
    op.execute("DROP PROCEDURE grant_step_rights")
    op.execute("DROP TABLE labels, datasets, groups, status_changes")
    op.execute("DROP INDEX pictures_picture_id")
    op.execute("ALTER TABLE badlist DROP COLUMN added_by, DROP COLUMN reason")
    op.execute("DROP TRIGGER segmentations_come_unchecked ON segmentations")
    op.execute("DROP TRIGGER segmentations_change ON segmentations")
    op.execute("DROP TRIGGER segmentations_go_unchecked ON segmentations")
    op.execute("DROP TRIGGER segmentations_changed ON segmentations")
    op.execute("DROP FUNCTION check_segmentation, record_status_change, keep_status_changes")
    op.execute("ALTER TABLE segmentations DROP CONSTRAINT segmentations_known_status")
    op.execute("UPDATE segmentations SET status = 'rejected' WHERE status = 'nobody'")
    op.execute(
        """
        ALTER TABLE segmentations
            DROP COLUMN people_count,
            DROP COLUMN status_at,
            DROP COLUMN reviewer,
            DROP COLUMN reason,
            DROP COLUMN revision,
            ADD CONSTRAINT segmentations_status_check CHECK (status IN ('unchecked', 'approved', 'rejected'))
        """
    )
