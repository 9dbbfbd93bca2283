#!/bin/sh
# Prints the Python that logllm's environment is made with: LOGLLM_PYTHON, else the first of 3.11, 3.12 and 3.13
# that runs and can make a virtual environment. Says what is missing where there is none.
set -u

can() {
    "$1" -c 'import sys, venv, ensurepip
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

if [ -n "${LOGLLM_PYTHON:-}" ]; then
    if can "$LOGLLM_PYTHON"; then
        echo "$LOGLLM_PYTHON"
        exit 0
    fi
    echo "LOGLLM_PYTHON=$LOGLLM_PYTHON: expected a Python 3.11, 3.12 or 3.13 with venv and ensurepip" >&2
    exit 1
fi

for name in python3.11 python3.12 python3.13 python3; do
    # A version manager's shim may stand before a Python that works, so each folder of PATH is tried.
    for found in $(which -a "$name" 2>/dev/null || command -v "$name"); do
        if can "$found"; then
            echo "$found"
            exit 0
        fi
    done
done

for name in python3.11 python3.12 python3.13 python3; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
        echo "$name cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2
        exit 1
    fi
done
echo "no Python 3.11, 3.12 or 3.13 found (Debian, Ubuntu: apt-get install python3 python3-venv; or set LOGLLM_PYTHON)" >&2
exit 1
