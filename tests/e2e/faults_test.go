package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/tests/kit"
)

// faultCalls put calls of testdata/faults where the handler is to fail: at the bottom of every operation, page and trigger,
// around the server, and in the work of goroutines.
var faultCalls = []kit.Patch{
	{File: "shared/rest/operation.go", From: "answer, err := handler(ctx, in)", To: "faults.Operation(op.ID, From(ctx).Correlation)\nanswer, err := handler(ctx, in)"},
	{File: "shared/rest/edge.go", From: "{ a.mux.Handle(pattern, h) }", To: "{ a.mux.Handle(pattern, faults.Page(pattern, h)) }"},
	{File: "handler/envelope.go", From: "if err := run(ctx, in); err != nil {", To: "faults.Trigger(in.Function)\nif err := run(ctx, in); err != nil {"},
	{File: "handler/server.go", From: "Handler:           h,", To: "Handler: faults.Unanswered(h),"},
	{File: "shared/background/background.go", From: "defer contain(name, nil)\n\t\t\tf(ctx)\n", To: "defer contain(name, nil)\nfaults.Begin(name)\nf(ctx)\n"},
	{File: "shared/background/background.go", From: "defer contain(name, &err)\n\t\treturn f()\n", To: "defer contain(name, &err)\nfaults.Begin(name)\nreturn f()\n"},
	{File: "shared/background/background.go", From: "defer contain(name, &err)\n\t\t\terr = f()\n", To: "defer contain(name, &err)\nfaults.Begin(name)\nerr = f()\n"},
	{File: "functions/orders/lane.go", From: "ctx, cancel := context.WithTimeout(context.Background(), commitTime)\n", To: "faults.Begin(\"commit lane\")\nctx, cancel := context.WithTimeout(context.Background(), commitTime)\n"},
	{File: "shared/redis/lane.go", From: "if len(batch) == 1 {\n\t\t_ = l.client.Process(", To: "faults.Begin(\"redis lane\")\nif len(batch) == 1 {\n_ = l.client.Process("},
	{File: "shared/outbox/lane.go", From: "res, err = l.drain.pass(ctx, shards)\n", To: "faults.Begin(\"outbox pass\")\nres, err = l.drain.pass(ctx, shards)\n"},
	{File: "functions/health/health.go", From: "if c.Ask(ctx) == nil {", To: "faults.Begin(\"probe of \" + c.Name)\nif c.Ask(ctx) == nil {"},
}

// faulty is a handler that fails where a test says so: the sources as they are, and calls of testdata/faults in them.
type faulty struct{ root, dir string }

// faultyApp is the staged app with it, which the first test that wants one builds.
var faultyApp struct {
	sync.Once
	root string
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	faultyApp.Do(func() { faultyApp.root = buildFaulty(t) })
	require.NotEmpty(t, faultyApp.root, "it couldn't be built, see the other tests")
	return &faulty{faultyApp.root, t.TempDir()}
}

func buildFaulty(t *testing.T) (root string) {
	t.Helper()
	source, err := os.ReadFile("testdata/faults/faults.go")
	require.NoError(t, err)
	patches, imported := slices.Clone(faultCalls), map[string]bool{}
	for _, call := range faultCalls {
		if !imported[call.File] {
			patches = append(patches, kit.Patch{File: call.File, From: "import (\n", To: "import (\n\"github.com/company/order-catalog-service/shared/faults\"\n"})
			imported[call.File] = true
		}
	}
	overlay := kit.Overlay(t, "../..", patches, map[string]string{"shared/faults/faults.go": string(source)})
	dir := filepath.Join(filepath.Dir(scriptRoot), "faulty") // goes when all tests are over
	require.NoError(t, os.MkdirAll(dir, 0o700))
	binary := filepath.Join(dir, "handler")
	require.NoError(t, stage.Build(t.Context(), "../..", binary, stage.BuildOptions{Version: "e2e", Overlay: overlay}))
	root, err = stage.Stage(stage.Options{Repo: "../..", Binary: binary, Out: filepath.Join(dir, "app")})
	require.NoError(t, err)
	return root
}

// setting tells a handler where to look.
func (f *faulty) setting() string { return "FAULTS=" + f.dir }

// ask has the handler fail at name until it is told to stop, or has done it, see testdata/faults.
func (f *faulty) ask(t *testing.T, name string) (stop func()) {
	t.Helper()
	file := filepath.Join(f.dir, name)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	return func() { _ = os.Remove(file) }
}

// notes are the failures that were made and begin like this.
func (f *faulty) notes(t *testing.T, prefix string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "notes"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, prefix) {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}
