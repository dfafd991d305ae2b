#!/usr/bin/env bash
# Makes an image of a Valkey server as its pod in the chart needs it, and imports it into a node that is up:
#
#   valkey-image.sh FOLDER NAME:TAG VALKEY_SERVER
#
# The client is Redis' own, which speaks the same protocol. It and the shell are this machine's programs, with
# their libraries.
set -euo pipefail
folder=$1 name=$2 server=$3
root=$(mktemp --directory)
trap 'rm -r "$root"' EXIT
# Whoever the program runs as reads the root.
chmod 755 "$root"
mkdir -p "$root/bin" "$root/tmp"
add() { # NAME PROGRAM
  install --mode=755 "$2" "$root/bin/$1"
  # `ldd` prints a library with its path, or the loader's path alone.
  ldd "$2" | grep --only-matching '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp --dereference "$library" "$root$library"
  done
}
add valkey-server "$server"
add valkey-cli "$(command -v redis-cli)"
for program in sh cat sed grep; do add "$program" "$(command -v "$program")"; done
"$(dirname "$0")/image.sh" "$folder" "$name" "$root"
