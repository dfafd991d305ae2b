#!/usr/bin/env bash
# Makes an image of a Valkey server as its pod in the chart needs it, and imports it into a node that is up:
#
#   valkey-image.sh FOLDER NAME:TAG VALKEY_SERVER
#
# The client is Redis' own, which speaks the same protocol. It and the shell are this machine's programs, with
# their libraries.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=root.sh
. "$here/root.sh"
folder=$1 name=$2 server=$3
root=$(mktemp --directory)
trap 'rm -r "$root"' EXIT
# Whoever the program runs as reads the root.
chmod 755 "$root"
mkdir "$root/tmp"
add_program "$root" valkey-server "$server"
add_program "$root" valkey-cli "$(command -v redis-cli)"
for program in sh cat sed grep; do add_program "$root" "$program" "$(command -v "$program")"; done
"$here/image.sh" "$folder" "$name" "$root"
