#!/bin/sh
# Rebuilds the Go stubs from proto/ with the generators that go.mod pins and the protoc that the
# Python environment locks.
#
#   generate.sh [DIRECTORY]    writes DIRECTORY/semservev1; left out: this directory
#   PYTHON=...                 an interpreter with grpcio-tools; left out: the workspace's own
set -eu

target=$(cd "${1:-$(dirname "$0")}" && pwd)
cd "$(dirname "$0")"
python=${PYTHON:-../../.venv/bin/python}
module=$(go list -m)

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -o "$tools" tool

# proto/build.py knows where the schema and its imports lie, so they are named only there.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=../../proto "$python" -c '
import sys
from build import compile_schema
compile_schema(*sys.argv[1:])
' "--plugin=protoc-gen-go=$tools/protoc-gen-go" "--go_out=$target" "--go_opt=module=$module" \
	"--plugin=protoc-gen-go-grpc=$tools/protoc-gen-go-grpc" "--go-grpc_out=$target" \
	"--go-grpc_opt=module=$module"
