#!/bin/sh
# What every container of viska starts with, and the unit of a rented machine: secrets become variables, and SIGTERM reaches the runs.
#
# Prefect reads its passwords from the environment alone. A file /run/secrets/NAME, in capitals, becomes the variable NAME; an empty file
# is no secret. And a Prefect worker that is told to stop (3.8.8) kills its runs at once, and leaves them as Running on the server: a
# training would lose what it learnt since its last checkpoint. So the worker is held still, its runs are told first, and when they have
# stored what they have and said so to the server, the worker is told.
set -eu

for file in "${VISKA_SECRETS:-/run/secrets}"/*; do
	name=${file##*/}
	case $name in
	*[!A-Z0-9_]* | [0-9]*) continue ;;
	esac
	if [ -s "$file" ]; then
		export "$name=$(cat "$file")"
	fi
done
mkdir -p "${TMPDIR:-/tmp}"

if [ "${1:-} ${2:-} ${3:-}" != "prefect worker start" ]; then
	exec "$@"
fi

# shellcheck disable=SC2329 # called by the one below
is_running() { # one that has ended, and that the worker has not noticed yet, is a zombie
	case $(cat "/proc/$1/stat" 2>/dev/null) in
	"" | *") Z "*) return 1 ;;
	esac
}

# shellcheck disable=SC2329 # the trap calls it
stop() {
	kill -STOP "$worker" 2>/dev/null || return 0
	runs=$(cat "/proc/$worker/task"/*/children 2>/dev/null || true)
	for run in $runs; do
		kill -TERM "$run" 2>/dev/null || true
	done
	for run in $runs; do
		while is_running "$run"; do
			sleep 0.2
		done
	done
	kill -TERM "$worker"
	kill -CONT "$worker"
}

env --default-signal=INT "$@" & # a shell's background jobs ignore SIGINT, which is how Prefect tells itself to stop
worker=$!
trap stop TERM INT
status=0
while kill -0 "$worker" 2>/dev/null; do # a signal ends `wait` before the worker has ended
	status=0
	wait "$worker" || status=$?
done
exit "$status"
