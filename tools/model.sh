#!/bin/sh
# Fetches the default model, unless it is there. Exit 1, said loudly, where there will be no explanations.
# With CI=true that is an error the caller must not pass over: exit 2.
set -u

why=
if [ -e .venv/.no-llm ]; then
    why=$(cat .venv/.no-llm)
elif ! .venv/bin/logllm model pull >/dev/null; then
    why="the model could not be fetched"
fi
[ -n "$why" ] || exit 0

echo >&2
echo "*** no explanations: $why" >&2
echo "*** incidents come with their facts alone (--no-llm)" >&2
echo >&2
[ "${CI:-}" = true ] && exit 2
exit 1
