# What deploy/check-compose and deploy/chaos do with the cluster of docker-compose.yml: bring it up under a project name of its own, wait with
# limits, read reports, and leave nothing behind. Sourced in the checkout, with the name of the script and the image.
#
# shellcheck shell=bash
readonly UP_LIMIT=120 RUN_LIMIT=300 DOWN_LIMIT=90
readonly script=$1

say() { echo "$script: $*"; }
fail() { echo "$script: FAILED: $*" >&2; exit 1; }

timeout 20 docker info >/dev/null 2>&1 || { say "no Docker engine answers"; exit 77; }
if timeout 20 docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif timeout 20 docker-compose version >/dev/null 2>&1; then
    compose=(docker-compose)
else
    say "neither docker compose nor docker-compose is there"
    exit 77
fi

image=${2:-}
if [ -z "$image" ]; then
    image=railyard:check
    deploy/build-image "$image" >/dev/null
fi
work=$(mktemp -d)
project=railyard-check-$$
export RAILYARD_IMAGE=$image RAILYARD_OUT=$work/out COMPOSE_PROJECT_NAME=$project
# Nobody's settings but these.
unset RAILYARD_USER COMPOSE_FILE COMPOSE_PROFILES
# Whoever runs in the containers writes here; a port of the page that nobody else has.
mkdir --mode 1777 "$RAILYARD_OUT"
export RAILYARD_UI=0 RAILYARD_UI_TOKEN=check-$project-$RANDOM$RANDOM

# Runs a compose command with a limit in seconds. A client that does not end by itself is killed.
bounded() {
    local limit=$1
    shift
    timeout --kill-after=10 "$limit" "${compose[@]}" "$@" </dev/null
}

containers() { docker ps --all --quiet --filter "label=com.docker.compose.project=$project" "$@"; }

networks() { docker network ls --quiet --filter "label=com.docker.compose.project=$project"; }

down() {
    bounded "$DOWN_LIMIT" down --volumes --timeout 5 >"$work/down.log" 2>&1 || return 1
    # The service of a profile is not part of `down` everywhere.
    containers | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    [ -z "$(containers)$(networks)" ]
}

finish() {
    status=$?
    trap - EXIT INT TERM
    if [ "$status" -ne 0 ]; then
        echo "--- the end of every log" >&2
        bounded 30 logs --no-color --tail 40 >&2 2>/dev/null || true
    fi
    down >/dev/null 2>&1 || true
    containers | xargs --no-run-if-empty docker rm --force --volumes >/dev/null 2>&1 || true
    networks | xargs --no-run-if-empty docker network rm >/dev/null 2>&1 || true
    # The records may be another user's.
    rm -rf "$work" 2>/dev/null || true
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits until a command succeeds: wait_for SECONDS WHAT COMMAND...
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "waited in vain for $what"
        [ "$(service_state coordinator)" != exited ] || fail "the coordinator has ended, while waiting for $what"
        sleep 1
    done
}

service_container() { bounded 20 ps --quiet "$1" 2>/dev/null; }
service_state() { docker inspect --format '{{.State.Status}}' "$(service_container "$1")" 2>/dev/null; }
is_healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(service_container "$1")")" = healthy ]; }

# How often a pattern occurs in a file.
count() { { grep -oE "$1" "$2" || true; } | wc -l; }

# Every row of a report's JSON must be verified. A host that could not keep up shows as `valid: false`; how many rows
# that befell is told, for on a shared machine it is no fault of the cluster.
check_report() {
    local file=$1 what=$2 rows quic bad late
    grep -q '"schema_version"' "$file" || fail "$what is no report: $(head -c 400 "$file")"
    rows=$(count '"verified": *(true|false)' "$file")
    bad=$(count '"verified": *false' "$file")
    quic=$(count '"backend": *"quic"' "$file")
    late=$(count '"valid": *false' "$file")
    [ "$quic" -gt 0 ] || fail "$what has no row measured over QUIC"
    [ "$bad" -eq 0 ] || fail "$what has $bad rows that are not verified"
    say "$what: $rows rows, $quic over QUIC, all verified; the host kept up in all but $late"
}
