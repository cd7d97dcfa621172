# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
cache := $(or $(OCNE_CACHE),$(HOME)/.cache/ocne-images)
# What needs Python 3.12 or 3.9 is skipped, and said, on a machine where scripts/setup finds none.
skip = echo "skipped: there is no Python for '$(1)' on this machine (scripts/setup says why)"
only_with = if [ -d "$(cache)/venv/$(1)" ]; then $(2); else $(call skip,$(1)); fi

.PHONY: help demo demo-pod test lint bench clean setup static lint-only units-py39 core-oldest core-newest integration cluster-up cluster-down

help:
	@echo "make demo    builds a boot image for Oracle Cloud Infrastructure, and boots it"
	@echo "make demo-pod    the same in a pod of a Kubernetes cluster that it starts"
	@echo "make test    everything: linters, unit tests, ansible-test, real plays"
	@echo "make lint    the linters only"
	@echo "make bench   writes benchmarks/RESULTS.md"
	@echo "make cluster-up, make cluster-down    a Kubernetes cluster to try builder pods on (tests/lab/cluster)"
	@echo "make clean   removes what was built here, and stops the lab"

demo:
	@scripts/setup run lab
	@scripts/demo

demo-pod:
	@scripts/setup run lab
	@scripts/demo-pod

test: setup
	@# Each of these keeps one core busy. All of them run, whichever fails, and no output is mixed.
	@$(MAKE) --no-print-directory --output-sync=target --keep-going -j2 static
	@$(MAKE) --no-print-directory integration

lint:
	@scripts/setup test
	@scripts/lint

bench: setup
	@benchmarks/run

clean:
	@rm -rf build .ansible .pytest_cache .ruff_cache tests/output *.tar.gz
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
	@for down in tests/lab/*/down; do if [ -x "$$down" ]; then "$$down"; fi; done

cluster-up:
	@tests/lab/cluster/up

cluster-down:
	@tests/lab/cluster/down

setup:
	@scripts/setup

static: core-oldest core-newest lint-only units-py39

lint-only:
	@scripts/lint

units-py39:
	@$(call only_with,py39,scripts/test-units py39)

core-oldest:
	@scripts/ansible-test oldest sanity
	@if [ -d tests/unit ]; then scripts/ansible-test oldest units --python default; fi

core-newest:
	@$(call only_with,newest,scripts/ansible-test newest sanity; scripts/test-units newest)

integration:
	@scripts/test-integration
