# shellcheck shell=bash
# For scripts that put the root of an image together from programs of this machine.

# Copies a program into the folder /bin of a root, with the libraries that it needs:
#
#   add_program ROOT NAME PROGRAM
add_program() {
  local root=$1
  install -D --mode=755 "$3" "$root/bin/$2"
  # `ldd` prints a library with its path, or the loader's path alone.
  ldd "$3" | grep --only-matching '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp --dereference "$library" "$root$library"
  done
}
