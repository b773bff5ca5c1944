#!/bin/sh
# restore.sh FILE|FOLDER: put a dump of backup.sh, or the newest of a folder, in the place of the database PGDATABASE, as the owner's login (PGHOST,
# PGUSER, PGPASSWORD). The dump is restored beside it first; only when that is whole do the two change names, so a
# dump that cannot be read changes nothing. What was there stays as <database>_before_<UTC time>: drop it when all
# is well. Scale steps and the review page down before: connections that are open are ended.
set -eu
file=$1
if [ -d "$file" ]; then
  file=$(find "$file" -maxdepth 1 -name "$PGDATABASE-*.dump" | sort | tail -n 1)
fi
test -r "$file" || { echo "error: the dump must be a file that can be read, got '$file'; see backup.sh" >&2; exit 1; }
now=$(date -u +%Y%m%d%H%M%S)
new="${PGDATABASE}_restored_$now"
old="${PGDATABASE}_before_$now"
ask() { psql --no-psqlrc --quiet --no-password --set=ON_ERROR_STOP=1 --dbname=postgres "$@"; }
trap 'ask --command="DROP DATABASE IF EXISTS \"$new\"" || true' EXIT
pg_restore --file=/dev/null "$file"
# a dump names roles, it does not hold them
for role in silhouette_ingest silhouette_segment silhouette_review silhouette_read; do
  ask --command="DO \$\$ BEGIN CREATE ROLE $role NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$"
done
ask --command="CREATE DATABASE \"$new\" TEMPLATE template0"
pg_restore --no-password --exit-on-error --single-transaction --dbname="$new" "$file"
test "$(psql --no-psqlrc --no-password --tuples-only --no-align --dbname="$new" \
  --command='SELECT count(*) FROM installation')" = 1 || { echo "error: the dump holds no Silhouette" >&2; exit 1; }
# a rename needs the database to itself: nobody new, and those that are there go
ask --command="ALTER DATABASE \"$PGDATABASE\" ALLOW_CONNECTIONS false" \
    --command="SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$PGDATABASE'" >/dev/null
back() { ask --command="ALTER DATABASE \"$PGDATABASE\" ALLOW_CONNECTIONS true"; }
ask --single-transaction --command="ALTER DATABASE \"$PGDATABASE\" RENAME TO \"$old\"" \
    --command="ALTER DATABASE \"$new\" RENAME TO \"$PGDATABASE\"" || { back; exit 1; }
trap - EXIT
ask --command="ALTER DATABASE \"$old\" ALLOW_CONNECTIONS true"
echo "$PGDATABASE is the dump $file; what was there is $old"
