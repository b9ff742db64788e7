#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# compile-db.sh CC FLAGS FILE... : compile_commands.json on standard output, for editors and clang-tidy.
set -eu
cc=$1 flags=${2//\"/\\\"}
shift 2
separator='['
for file in "$@"; do
	printf '%s\n{"directory": "%s", "file": "%s", "command": "%s %s -c %s"}' \
		"$separator" "$PWD" "$file" "$cc" "$flags" "$file"
	separator=,
done
printf '\n]\n'
