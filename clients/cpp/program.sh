#!/bin/sh
# Builds and runs one program that uses the library as CMake built it, such as one of README.md.
#
#   program.sh FILE.cpp
set -eu

library=$(cd "$(dirname "$0")" && pwd)
built=$library/../../.cache/clients/cpp
c++ -std=c++17 "$1" -o "$1.out" -I "$library/include" -isystem "$built/stubs" \
	"$built/libsemserve.a" "$built/libsemserve_stubs.a" -lgrpc++ -lgrpc -lgpr -lprotobuf -lpthread
exec "$1.out"
