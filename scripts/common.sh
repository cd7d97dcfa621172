# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# shellcheck shell=bash
# What the scripts share: where things are. Source it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything that is made, beside build outputs, is outside the repository.
cache=${OCNE_CACHE:-${HOME:?}/.cache/ocne-images}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# A folder for ANSIBLE_COLLECTIONS_PATH in which this checkout is ocne.images.
collections_path() {
    local path
    path=$cache/checkout/$(printf %s "$root" | cksum | cut -d' ' -f1)
    mkdir -p "$path/ansible_collections/ocne"
    ln -sfn "$root" "$path/ansible_collections/ocne/images"
    printf '%s\n' "$path"
}

# use_venv NAME: main (the user's), oldest, newest (ansible-core), tools, py39, oci-cli.
use_venv() {
    local dir=$cache/venv/$1 part path=''
    [ -x "$dir/bin/python" ] || die "there is no Python environment '$1': run scripts/setup"
    # Shims of Python version managers exist for versions that they then refuse to run.
    while IFS= read -r -d: part; do
        case $part in */shims) ;; *) path=$path:$part ;; esac
    done <<<"$PATH:"
    export PATH="$dir/bin$path"
    export VIRTUAL_ENV=$dir
    unset PYTHONHOME PYTHONPATH PYENV_VERSION
    # ansible-core refuses to start in a locale that is not UTF-8.
    case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in *[Uu][Tt][Ff]*) ;; *) export LC_ALL=C.UTF-8 ;; esac
}

# copy_tree DEST: what git has or would add, without what it ignores.
copy_tree() {
    local name
    rm -rf "$1"
    mkdir -p "$1"
    (
        cd "$root" || exit
        git ls-files -coz --exclude-standard | while IFS= read -r -d '' name; do
            if [ -e "$name" ] || [ -L "$name" ]; then printf '%s\0' "$name"; fi
        done | tar --null --no-recursion -T - -cf -
    ) | tar -xf - -C "$1"
}
