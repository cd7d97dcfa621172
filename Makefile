# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help demo demo-pod test lint bench clean setup cluster-up cluster-down

help:
	@echo "make demo    makes a custom image in a stand-in for Oracle Cloud Infrastructure, and boots it"
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

test:
	@python3 scripts/steps.py

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
