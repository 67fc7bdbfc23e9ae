#!/usr/bin/env bash
# container.sh build [TARGET] | run [ARGUMENTS of serving.server]
#   The images of ./Dockerfile, by the first of docker, podman and buildah that works (or ENGINE).
#   IMAGE names them, BUILD_ARGS goes to the build, RUN_ARGS to the run, PORT is published, VOLUME
#   keeps what the container writes. BASE is what they are built on, python:3.11-slim-bookworm or
#   NAME@sha256:…; a name is pulled, and built on by the digest that it has then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
IMAGE=${IMAGE:-localhost/production-lstm}
PORT=${PORT:-8000}
read -ra BUILD_ARGS <<<"${BUILD_ARGS:-}"
read -ra RUN_ARGS <<<"${RUN_ARGS:-}"

engine() {
  if [ -n "${ENGINE:-}" ]; then echo "$ENGINE"; return; fi
  for name in docker podman buildah; do
    # A client without a server to talk to is no engine.
    if command -v $name >/dev/null 2>&1 && timeout 20 $name info >/dev/null 2>&1; then
      echo $name; return
    fi
  done
  echo "no docker, podman or buildah that works here; install one of them" >&2
  exit 1
}

# The base by its digest, which names the same bits for ever; a tag is moved.
base() {
  local tool=$1 name=${BASE:-$(sed -n 's/^ARG BASE=//p' Dockerfile)} digest=
  case $name in *@sha256:*) echo "$name"; return ;; esac
  if [ "$tool" = buildah ]; then
    $tool pull --policy "${PULL:-newer}" --quiet "$name" >/dev/null || true
    digest=$($tool inspect --type image --format '{{.FromImageDigest}}' "$name") || true
  else
    [ "${PULL:-newer}" = never ] || $tool pull --quiet "$name" >/dev/null || true
    digest=$($tool image inspect --format '{{index .RepoDigests 0}}' "$name") || true
  fi
  case $digest in
    *sha256:*) ;;
    *) echo "no digest of $name is known here: built on the name" >&2; echo "$name"; return ;;
  esac
  case ${name##*/} in *:*) name=${name%:*} ;; esac
  echo "$name@sha256:${digest##*sha256:}"
}

build() {
  local target=${1:-serving} tool
  tool=$(engine)
  local options=(--target "$target" --tag "$IMAGE:$target" --file Dockerfile)
  options+=(--build-arg "BASE=$(base "$tool")")
  options+=(--build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unversioned)")
  # HEALTHCHECK is an instruction of Docker's format only.
  case $tool in
    docker) DOCKER_BUILDKIT=1 docker build "${options[@]}" "${BUILD_ARGS[@]}" . ;;
    *) "$tool" build --layers --format docker "${options[@]}" "${BUILD_ARGS[@]}" . ;;
  esac
}

run() {
  local tool python=${PYTHON:-.venv/bin/python}
  tool=$(engine)
  local environment=()
  [ ! -f .env ] || environment+=(--env-file "$PWD/.env")
  # By name: the list of processes shows what stands in a command.
  [ -z "${API_KEYS:-}" ] || environment+=(--env API_KEYS)
  # The registry of this machine is a file: it is shown, not lent. What the container writes goes
  # to a volume of its own. Stores named by another URL are taken from .env as they are.
  local var registry mounts=()
  var=$($python -c 'from lib.settings import get_settings; print(get_settings().var_dir)')
  registry=$($python -c 'from lib.settings import get_settings; print(get_settings().mlflow_tracking_uri)')
  environment+=(--env "MLFLOW_TRACKING_URI=$registry" --env VAR_DIR=/data)
  case $registry in sqlite:*) mounts+=(--volume "$var:$var:ro") ;; esac
  if [ "$tool" = buildah ]; then
    run_by_buildah "$@"
    return
  fi
  exec "$tool" run --rm --read-only --cap-drop ALL --security-opt no-new-privileges \
    --pids-limit 256 --memory "${MEMORY:-1g}" --publish "127.0.0.1:$PORT:8000" \
    --volume "${VOLUME:-production-lstm}:/data" "${mounts[@]}" "${environment[@]}" "${RUN_ARGS[@]}" \
    "$IMAGE:serving" "$@"
}

# buildah runs what it builds, for a try: not read-only, and on the network of this machine.
run_by_buildah() {
  local container given=() line
  if [ -f .env ]; then
    while IFS= read -r line; do
      case $line in '' | '#'*) ;; *) given+=(--env "$line") ;; esac
    done <.env
  fi
  [ -z "${API_KEYS:-}" ] || given+=(--env "API_KEYS=$API_KEYS")
  container=$(buildah from --pull-never "$IMAGE:serving")
  trap 'buildah rm "$container" >/dev/null' EXIT
  buildah run --network host --user 10001:10001 "${mounts[@]}" "${given[@]}" \
    --env "MLFLOW_TRACKING_URI=$registry" --env VAR_DIR=/data "${RUN_ARGS[@]}" "$container" -- \
    python -m serving.server --host 127.0.0.1 --port "$PORT" --no-worker "$@"
}

case ${1:-} in
  build | run) "$@" ;;
  *) sed -n '2,7s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
