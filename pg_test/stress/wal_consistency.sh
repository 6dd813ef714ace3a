#!/usr/bin/env bash
# The standby compares every page that generic WAL changes with the image the primary wrote, and stops
# at the first difference.
export STRESS_NAME=stress-wal
export STANDBY_SETTINGS="wal_consistency_checking=generic"
exec "$(dirname "${BASH_SOURCE[0]}")/standby.sh"
