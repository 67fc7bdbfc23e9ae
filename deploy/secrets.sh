#!/bin/sh
# secrets.sh: make deploy/secrets/, a file each, with new passwords; those that are there are kept.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
new() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { [ -s "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"; }
keep postgres_password "$(new)"
keep api_keys "$(new)"
server="postgresql+psycopg://postgres:$(cat secrets/postgres_password)@postgres:5432"
keep mlflow_backend_store_uri "$server/mlflow"
keep optuna_storage "$server/optuna"
keep database_url "$server/state"
# Containers read them as another user; nobody else gets through the folder.
chmod 444 secrets/*
