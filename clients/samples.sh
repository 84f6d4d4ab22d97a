#!/bin/sh
# Builds and runs the sample of every client whose toolchain is there; each prints one line
# `LANGUAGE ok DIMENSIONS COSINE LABEL`.
#
#   clients/samples.sh HOST:PORT
set -u
address=$1
clients=$(cd "$(dirname "$0")" && pwd)
failed=0

# sample LANGUAGE TOOL COMMAND: runs a shell command in clients/ and prints the last line of its output.
sample() {
	if ! command -v "$2" >/dev/null; then
		echo "$1 skipped: $2 is not installed"
		return
	fi
	log=$(mktemp)
	if said=$(cd "$clients" && sh -c "$3" 2>"$log"); then
		echo "$said" | tail -n 1
	else
		failed=1
		echo "$1 failed: $(tail -n 3 "$log")" >&2
	fi
	rm -f "$log"
}

python=$clients/../.venv/bin/python
test -x "$python" || python=python3
build="${MAKE:-make} --silent --no-print-directory -C '$clients/..'"

sample Python "$python" "'$python' python/sample/first.py '$address'"
sample Go go "cd go && go run ./sample -address '$address'"
sample Node npm "$build clients/node/dist/.ready >&2 && node node/dist/sample/sample.js '$address'"
sample Java mvn "$build clients/java/target/.ready >&2 && java/run Sample '$address'"
exit $failed
