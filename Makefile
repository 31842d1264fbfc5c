# The commands of this repository. `make` alone lists them.
LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
# Built and put in make's place, not "go run": who kills make ends the stack with it. With the flags of the
# handler's own build, so that a first start compiles what both need once.
LOCAL := { test -x .local/bin/local || echo 'Building the local stack: the first time takes a minute or two.' >&2; } && CGO_ENABLED=0 go build -trimpath -o .local/bin/local ./infra/local && exec .local/bin/local
FUZZTIME ?= 5s

.DEFAULT_GOAL := help
.PHONY: help run test cover contracts release-contracts check bench k6 soak mutate drill package start token seed reset lint rules fmt fuzz vuln licences azure

help: ## List these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-17s %s\n", $$1, $$2}'

run: ## Run the whole stack on this machine until Ctrl-C
	@$(LOCAL) run

# The last line is without -race, under which the bound on each document's time is ten times as high.
test: ## Run all tests against a throw-away PostgreSQL and Redis
	@$(LOCAL) services -- go test -p 1 -race -shuffle=on -timeout 20m ./...
	@go test -count=1 -run '^TestNoDocumentKillsTheProcess$$' ./functions/graphql/engine

cover: ## Run all tests and show what they execute, handlers they kill included, in .local/cover; fails below 80 %
	@go build -o .local/bin/cover ./tests/cover && $(LOCAL) services -- .local/bin/cover $(ARGS)

# With -race like the tests, so that nothing is compiled twice.
contracts: ## Hold what a storefront and a webhook receiver rely on against the service; UPDATE=1 writes their contracts anew
	@$(LOCAL) services -- env UPDATE='$(UPDATE)' tests/contracts/pact/run.sh go test -p 1 -race -count=1 -tags contracts \
		-run '^(TestStorefront|TestReceiver|TestPact.*)$$' ./tests/contracts/pact ./tests/e2e

release-contracts: ## At a release: write down in docs/released what clients may rely on from now on
	RELEASE_CONTRACTS=1 go test -count=1 -run '^TestNothingThatWasReleasedBreaks$$' ./handler
	file=functions/graphql/testdata/released.graphql; { sed -n 1,2p $$file; sed 1,2d functions/graphql/schema.graphql; } >$$file.new && mv $$file.new $$file

check: ## What CI runs: format, vet, lint, vulnerabilities, tidy, tests, contracts, fuzz targets, package
	@files=$$(gofmt -l $$(git ls-files '*.go')) && test -z "$$files" || { echo "not formatted (make fmt mends it): $$files"; exit 1; }
	go mod tidy -diff
	go vet ./...
	$(MAKE) lint
	$(MAKE) vuln
	$(MAKE) rules
	$(MAKE) test
	$(MAKE) contracts
	$(MAKE) fuzz
	$(MAKE) package

lint: ## Run the linters
	$(LINT) run ./...
	$(ACTIONLINT) .github/workflows/*.yml

vuln: ## Look for known vulnerabilities, in our calls of what we are built from
	@$(LOCAL) vuln

licences: ## Write docs/licences.md from what is linked into the handler
	@$(LOCAL) licences

# The tag leaves out the clients of forty clouds' service discovery, which these commands don't use.
rules: ## Check the alert rules and run their tests with Prometheus' own tool
	@promtool=$$(command -v promtool || echo go run -tags remove_all_sd github.com/prometheus/prometheus/cmd/promtool@v0.316.0); \
	$$promtool check rules infra/alerts/service.yaml && $$promtool test rules infra/alerts/service_test.yaml

fmt: ## Format the code
	$(LINT) fmt ./...

# Go before 1.27 now and then reports the end of -fuzztime itself as a failure (go.dev/issue/75804), with these words and no
# failing input: such a target is run once more. Anything else that fails is a failure.
fuzz: ## Run each fuzz target for FUZZTIME (5s)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
			echo "fuzz $$target ($$file)"; \
			for try in 1 2; do \
				go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" >"$$log" 2>&1 && failed= || failed=yes; \
				cat "$$log"; \
				test -n "$$failed" || break; \
				grep -qx '    context deadline exceeded' "$$log" && ! grep -q 'Failing input' "$$log" && test $$try = 1 || exit 1; \
			done; \
		done; \
	done

bench: ## Measure against references in the same run (17 min); DOCS=docs writes docs/benchmarks.md, ARGS=--help says more
	@$(LOCAL) services --durable -- go run ./tests/load --docs '$(or $(DOCS),.local/bench)' $(ARGS)

k6: ## Send Black Friday to a running stack (make run): make k6 RATE=500 DURATION=120
	@$$(command -v k6 || echo go run go.k6.io/k6@v1.8.1) run --no-usage-report tests/load/black-friday.js

soak: ## Hurt the service for SOAK (2m) under load and check the books, then see that the checks can fail
	@$(LOCAL) services -- env SOAK=$(or $(SOAK),2m) go test -count=1 -timeout 0 -v ./tests/soak
	@SOAK=$(or $(SOAK),2m) AWAY=$(or $(AWAY),60s) CHAOS_BROKEN=1 CHAOS_DIR='$(if $(CHAOS_DIR),$(abspath $(CHAOS_DIR)))' go test -count=1 -timeout 0 -v ./tests/chaos

mutate: ## Break the code that carries the promises, one change at a time, and list what no test notices; ARGS=--help says more
	@$(LOCAL) services -- go run ./tests/mutate $(ARGS)

# Prometheus evaluates the alerts; the tag leaves out the clients of forty clouds' service discovery.
drill: ## Make each runbook's fault under load, see its alerts fire and its actions end them (15 min); writes docs/runbooks/drill.md
	GOBIN='$(abspath .local/bin)' go install -tags remove_all_sd github.com/prometheus/prometheus/cmd/prometheus@v0.316.0
	PROMETHEUS='$(abspath .local/bin/prometheus)' DRILL_OUT='$(abspath docs/runbooks/drill.md)' go test -count=1 -timeout 0 -v -run '^TestTheRunbooksAreFollowed$$' ./tests/chaos

azure: ## Bring up to date what is made from the code: the gateway's document and the snapshots of what Bicep deploys
	UPDATE=1 go test -count=1 -run 'TheGatewayPublishesTheCodesOperations' ./handler
	UPDATE=1 go test -count=1 -run 'TheGraphQLAPIIsTheSlicesOwn|SnapshotsAreWhatBicepWouldDeploy' ./tests/azure

package: ## Build dist/, the script root that Azure runs, and bin/order-catalog.zip
	@$(LOCAL) package

start: ## Run dist/ under Azure Functions Core Tools
	@$(LOCAL) start

token: ## Print an access token of the running stack: make -s token SUB=customer-2 SCOPE='order:read' ROLES=admin
	@$(LOCAL) token $(if $(SUB),--sub '$(SUB)') $(if $(SCOPE),--scope '$(SCOPE)') $(if $(ROLES),--roles '$(ROLES)')

seed: ## Import a catalog: make seed FILE=catalog.csv
	@test -n "$(FILE)" || { echo 'which file? make seed FILE=catalog.csv' >&2; exit 1; }
	@$(LOCAL) seed '$(FILE)'

reset: ## Delete the local stack's data
	@$(LOCAL) reset
