#!/bin/sh
# Run the tests on one Python: run_on_python.sh VERSION. Skipped, by name, where it is not installed.
# The environment is made outside of the checkout, as that of a distribution's packager is.
set -eu
version=$1
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "python$version" || { command -v uv >/dev/null && uv python find "$version" 2>/dev/null; } || true)
if [ -z "$python" ] || ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
	echo "Python $version: SKIPPED, not installed here"
	exit 0
fi
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
"$python" -m venv "$environment"
"$environment/bin/python" -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
(cd "$root" && "$environment/bin/python" -m pip install -q --disable-pip-version-check --group dev)
echo "Python $version:"
cd "$root" && PATH="$environment/bin:$PATH" "$environment/bin/python" -m pytest -n "${JOBS:-4}" --ignore tests/real tests
