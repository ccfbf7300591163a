#!/bin/sh
# Installs image-tools from this folder, without a network: sh install.sh [FOLDER]
#
# FOLDER is /opt/image-tools for root, ~/.local/share/image-tools for others, and the command is linked to /usr/local/bin or
# ~/.local/bin; where FOLDER is named, nothing is linked. As root, skopeo and Python are installed where they are lacking, if
# this is the distribution that they are for.
set -eu
here=$(CDPATH='' cd -- "$(dirname "$0")" && pwd -P)

say() { printf 'image-tools: %s\n' "$*" >&2; }

could_not() {
    say "$@"
    exit 3
}

if [ "$(id -u)" = 0 ]; then
    folder=/opt/image-tools commands=/usr/local/bin
else
    folder=$HOME/.local/share/image-tools commands=$HOME/.local/bin
fi

has_python() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

# apt-get that knows no source but the packages here, which were checked, and leaves its own lists as they are.
apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root \
        -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache::archives=$work/archives" "$@" >>"$work/log" 2>&1
}

# install_packages NAME...
install_packages() {
    mark=$(cat "$here/DISTRIBUTION")
    # shellcheck source=/dev/null
    this=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}")
    if [ -z "$mark" ] || [ "$mark" != "$this" ]; then
        could_not "$* must be installed first: the packages here are for ${mark:-no system}, not for $this"
    fi
    [ "$(id -u)" = 0 ] || could_not "$* must be installed first: as root, type  sh $0"
    say "installing $* from the packages here"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    ln -s "$here/packages" "$work/packages" # a folder with a space in its name could not be written below
    echo "deb [trusted=yes] file:$work/packages ./" >"$work/sources.list"
    if ! apt_get update || ! apt_get install "$@"; then
        tail -5 "$work/log" >&2
        could_not "apt-get could not install them (above: its last words)"
    fi
}

(cd "$here" && sha256sum -c --quiet SHA256SUMS) || could_not "something in $here is damaged: copy it again"
[ $# = 0 ] || folder=$1 commands=
set --
command -v skopeo >/dev/null 2>&1 || set -- "$@" skopeo ca-certificates
has_python || set -- "$@" python3
[ $# = 0 ] || install_packages "$@"

say "installing into $folder"
mkdir -p "$folder"
folder=$(CDPATH='' cd -- "$folder" && pwd -P)
rm -rf "$folder/lib.new"
python3 "$(echo "$here"/wheels/pip-*.whl)/pip" install --quiet --no-index --find-links "$here/wheels" \
    --disable-pip-version-check --no-warn-script-location --root-user-action ignore --target "$folder/lib.new" image-tools ||
    could_not "there are no wheels here for $(python3 --version): pack again with -python"
rm -rf "$folder/lib"
mv "$folder/lib.new" "$folder/lib"
python=$(command -v python3)
cat >"$folder/image-tools.new" <<EOF
#!$python -I
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
from pipeline.cli.main import main

sys.exit(main())
EOF
chmod 755 "$folder/image-tools.new"
mv "$folder/image-tools.new" "$folder/image-tools"
if [ -n "$commands" ]; then
    mkdir -p "$commands"
    ln -sf "$folder/image-tools" "$commands/image-tools"
fi
commands=${commands:-$folder}
say "$("$commands/image-tools" version) is at $commands/image-tools"
case ":$PATH:" in
    *":$commands:"*) ;;
    *) say "$commands is not in your PATH" ;;
esac
