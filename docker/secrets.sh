#!/bin/sh
# Make the passwords of docker/compose.yaml, each once: what is there is left alone. Run it again after an update that adds one.
#
# The folder is closed to everybody else on this machine. The files in it are readable, because Compose mounts them as they are, and the
# containers run as other users than you.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets

random() {
	od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

keep() { # name, content
	if [ ! -e "secrets/$1" ]; then
		printf '%s' "$2" >"secrets/$1"
		chmod 444 "secrets/$1"
		echo "made docker/secrets/$1"
	fi
}

keep POSTGRES_PASSWORD "$(random)"
keep PREFECT_AUTH "viska:$(random)"
keep AWS_ACCESS_KEY_ID "viska-$(random | cut -c 1-12)"
keep AWS_SECRET_ACCESS_KEY "$(random)"
pair=$(printf '"accessKey": "%s", "secretKey": "%s"' "$(cat secrets/AWS_ACCESS_KEY_ID)" "$(cat secrets/AWS_SECRET_ACCESS_KEY)")
keep s3.json "{\"identities\": [{\"name\": \"viska\", \"credentials\": [{$pair}], \"actions\": [\"Admin\"]}]}"
for name in HF_TOKEN MDC_API_KEY VISKA_WEBHOOK; do # yours to fill in; empty: none
	if [ ! -e "secrets/$name" ]; then
		: >"secrets/$name"
		chmod 644 "secrets/$name"
		echo "made docker/secrets/$name, empty"
	fi
done
echo "The Prefect UI asks for what is in docker/secrets/PREFECT_AUTH."
