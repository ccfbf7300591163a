# Sets a checkout up: its own .venv, and programs through the system's package manager. Sourced by ./image-tools and
# tests/run, which set `here`, the checkout. POSIX sh.
#
# What is ready costs two short-lived processes to see. What is not is made under a lock, so that two first starts do not
# break each other, and said on standard error. A set-up that was cut short leaves .venv/.setting-up and is begun anew.

venv=$here/.venv

say() { printf 'image-tools: %s\n' "$*" >&2; }

could_not() {
    say "$@"
    exit 3
}

# set_up_venv [EXTRA]: a .venv that holds this checkout and what pyproject.toml asks for, with its optional EXTRA.
set_up_venv() {
    if is_ready "${1-}"; then return; fi
    mkdir -p "$venv" || could_not "cannot write to $here, where .venv belongs"
    lock
    if ! is_ready "${1-}"; then
        venv_is_sound || make_venv
        install_checkout "${1-}"
    fi
    unlock
}

# The stamp of a finished set-up: where the checkout was, which Python it was made with, what pyproject.toml held.
read_stamp() {
    stamped_here='' stamped_python='' stamped_project=''
    [ -f "$venv/.ready${1:+-$1}" ] || return 1
    { read -r stamped_here && read -r stamped_python && read -r stamped_project; } <"$venv/.ready${1:+-$1}"
}

python_now() { readlink -f "$venv/bin/python"; }
project_now() { cksum <"$here/pyproject.toml"; }

is_ready() {
    read_stamp "$1" && [ "$stamped_here" = "$here" ] && [ ! -e "$venv/.setting-up" ] && [ -x "$venv/bin/python" ] &&
        [ "$stamped_python" = "$(python_now)" ] && [ "$stamped_project" = "$(project_now)" ]
}

# Whether packages can be installed into the .venv that is there; one that was moved or lost its Python cannot be mended.
venv_is_sound() {
    [ ! -e "$venv/.setting-up" ] && [ -x "$venv/bin/python" ] || return 1
    if read_stamp ''; then
        [ "$stamped_here" = "$here" ] && [ "$stamped_python" = "$(python_now)" ] || return 1
    fi
    "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

# A Python that can make a .venv.
need_python() {
    find_python
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        # python3.12 belongs to python3.12-venv, python3 to python3-venv.
        install_packages "$python-venv"
    fi
}

make_venv() {
    need_python
    say "making $venv with $("$python" --version 2>&1)"
    : >"$venv/.setting-up"
    # The lock lives in the folder, so the folder stays.
    find "$venv" -mindepth 1 -maxdepth 1 ! -name '.lock*' ! -name .setting-up -exec rm -rf {} +
    quietly "$python" -m venv "$venv" || could_not "cannot make $venv"
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then return; fi
    done
    found=$(python3 --version 2>/dev/null) || found='no python3'
    could_not "Python 3.10 or newer is needed, and $found is here; please type:  $(install_command python3)"
}

install_checkout() {
    say "installing what pyproject.toml${1:+ [$1]} asks for into $venv"
    : >"$venv/.setting-up"
    # Python compiles what it imports: to compile all of it here takes half of the time.
    quietly in_checkout "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile --quiet -e ".${1:+[$1]}" ||
        could_not "the Python packages could not be installed (above: pip's own words); the next start tries again"
    for stamp in .ready ${1:+ ".ready-$1"}; do
        printf '%s\n' "$here" "$(python_now)" "$(project_now)" >"$venv/$stamp"
    done
    rm -f "$venv/.setting-up"
}

in_checkout() { (cd "$here" && "$@"); }

# need_tools COMMAND...: each is there, or is installed.
need_tools() {
    missing_tools "$@" || return 0
    mkdir -p "$venv" || could_not "cannot write to $here"
    lock -tools
    # shellcheck disable=SC2086  # the names are words
    if missing_tools "$@"; then install_packages $missing; fi
    unlock
    if missing_tools "$@"; then could_not "still not to be found after installing:$missing"; fi
}

missing_tools() {
    missing=''
    for tool in "$@"; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
    [ -n "$missing" ]
}

# The package of a command, where Debian gives it another name.
package_of() {
    case $1 in
        xz) echo xz-utils ;;
        *) echo "$1" ;;
    esac
}

# install_packages PACKAGE...: through apt-get, as root or with sudo. Elsewhere: the command to type, and exit code 3.
install_packages() {
    if [ "$(uname -s)" != Linux ] || ! command -v apt-get >/dev/null 2>&1; then
        could_not "$* must be installed first; please type:  $(install_command "$@")"
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
        could_not "$* must be installed first; as root, please type:  apt-get install $*"
    fi
    for package in "$@"; do
        shift
        set -- "$@" "$(package_of "$package")"
    done
    say "installing $* with apt-get"
    # skopeo needs ca-certificates and only recommends them.
    if ! apt_get install "$@" ca-certificates >/dev/null 2>&1; then
        # Most often there are no package lists yet, or old ones.
        say "updating apt-get's package lists first"
        apt_get update >/dev/null 2>&1 || true
        quietly apt_get install "$@" ca-certificates ||
            could_not "apt-get failed (above: its own words); please type:  $(install_command "$@")"
    fi
}

apt_get() {
    subcommand=$1
    shift
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends \
        "$subcommand" "$@" </dev/null
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# What a person would type to install packages here.
install_command() {
    if [ "$(uname -s)" = Darwin ]; then
        echo "brew install $*"
        return
    fi
    if [ "$(id -u)" != 0 ]; then printf 'sudo '; fi
    if command -v apt-get >/dev/null 2>&1; then
        echo "apt-get install $*"
    elif command -v dnf >/dev/null 2>&1; then
        echo "dnf install $*"
    elif command -v zypper >/dev/null 2>&1; then
        echo "zypper install $*"
    elif command -v pacman >/dev/null 2>&1; then
        echo "pacman -S $*"
    elif command -v apk >/dev/null 2>&1; then
        echo "apk add $*"
    else
        echo "PACKAGE-MANAGER install $*"
    fi
}

# Run a command; what it says is shown only when it fails. Standard input stays the user's.
quietly() {
    if output=$("$@" 2>&1 </dev/null); then return 0; fi
    printf '%s\n' "$output" >&2
    return 1
}

# lock [NAME]: one set-up of a kind at a time in a checkout.
lock() {
    lock=$venv/.lock${1-}
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$lock"
        flock -n 9 || {
            say "another start is setting up; waiting for it"
            flock 9
        }
        return
    fi
    waited=0
    until mkdir "$lock.d" 2>/dev/null; do
        [ "$waited" != 0 ] || say "another start is setting up; waiting for it"
        waited=$((waited + 1))
        holder=$(cat "$lock.d/holder" 2>/dev/null) || holder=''
        # A holder that was killed never comes back; one that has no name after five seconds neither.
        if { [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; } || { [ -z "$holder" ] && [ "$waited" -gt 5 ]; }; then
            rm -rf "$lock.d"
        else
            sleep 1
        fi
    done
    echo $$ >"$lock.d/holder"
    trap 'rm -rf "$lock.d"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

unlock() {
    exec 9>&-
    rm -rf "$lock.d"
    trap - EXIT INT TERM
}
