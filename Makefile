# Every command of the project. Each does its own set-up on a fresh machine; what it takes is in scripts/.
# Two suffice to begin with: `make demo` and `make test`.

.PHONY: help demo test test-cluster test-mesh lint bench bench-load bench-mesh bench-release filter generate clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## a gateway and four services on real Envoys, with traffic and a table of claims; KEEP=1 leaves it running
	@scripts/demo.sh

test: ## all tests, the fast ones first; STAGE="native envoy" runs only those
	@scripts/test.sh $(STAGE)

test-cluster: ## the tests on a real API server; SMOKE=1 or NAME="part of a name" runs only some
	@scripts/test-cluster.sh $(NAME)

test-mesh: ## the tests on a real mesh: API server, istiod, Envoys as gateway and sidecars; SMOKE and NAME as above
	@scripts/test-mesh.sh $(NAME)

lint: ## formatting, clippy, rustdoc, licences, shell scripts
	@scripts/lint.sh

bench: ## criterion benches and the budgets: instructions, host calls, fuel, size, memory
	@scripts/bench.sh

bench-load: ## CPU per request in Envoy: ours, Lua's, empty and no filter, in interleaved slots
	@scripts/bench-load.sh

bench-mesh: ## on a real mesh and API server: what weight changes, faults and a thousand releases cost, held to bounds
	@scripts/bench-mesh.sh

bench-release: ## thousands of good and bad releases in virtual time, judged by ours and by other rules
	@scripts/bench-release.sh

filter: ## the shipped module, target/filter/graylane_filter.wasm
	@scripts/build-filter.sh

generate: ## rewrite the files that are made from code (JSON Schema, rendered examples)
	@scripts/generate.sh

clean: ## remove everything that was built or installed here
	rm -rf target
