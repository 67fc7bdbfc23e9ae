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
keep mlflow_password "$(new)"
keep mlflow_tracking_uri "http://writer:$(cat secrets/mlflow_password)@registry:5000"
keep grafana_password "$(new)"
# Where alerts go: a URL that takes a POST of JSON, and URLs of apprise. Empty is nowhere.
keep alert_webhook_url ""
keep alert_urls ""
server="postgresql+psycopg://postgres:$(cat secrets/postgres_password)@postgres:5432"
keep mlflow_backend_store_uri "$server/mlflow"
keep optuna_storage "$server/optuna"
keep database_url "$server/state"
# Containers read them as another user; nobody else gets through the folder.
chmod 444 secrets/*
