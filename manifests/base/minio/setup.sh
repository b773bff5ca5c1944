#!/bin/sh
# setup.sh POLICIES USERS: buckets, users and policies of the store. USERS holds a file for each user, named by the
# access key; its content is the secret key, which is never a word of a command line.
set -eu
policies=$1
users=$2
export MC_HOST_store="http://$ADMIN_ACCESS_KEY:$ADMIN_SECRET_KEY@minio:9000"
mc ready store
for bucket in silhouette silhouette-runs; do
  mc mb --ignore-existing "store/$bucket"
done
for policy in steps triton review runs; do
  mc admin policy create store "silhouette-$policy" "$policies/$policy.json"
  { echo "silhouette-$policy"; cat "$users/silhouette-$policy"; echo; } | mc admin user add store
  mc admin policy attach store "silhouette-$policy" --user "silhouette-$policy" ||
    mc admin policy entities store --user "silhouette-$policy" | grep -q "silhouette-$policy"
done
echo "buckets, users and policies are as they should be"
