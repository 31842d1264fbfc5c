package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/tests/kit"
)

const importFaults = "\n\t\"github.com/company/order-catalog-service/shared/faults\"\n"

// faultPatches put calls of testdata/faults where the handler is to fail.
var faultPatches = []kit.Patch{
	{File: "shared/rest/operation.go", From: "\n\t\"github.com/company/order-catalog-service/shared/auth\"\n", To: importFaults + "\t\"github.com/company/order-catalog-service/shared/auth\"\n"},
	{File: "shared/rest/operation.go", From: "answer, err := handler(ctx, in)", To: "faults.Operation(op.ID, From(ctx).Correlation)\n\t\tanswer, err := handler(ctx, in)"},
	{File: "shared/rest/edge.go", From: "\n\t\"github.com/company/order-catalog-service/shared/telemetry\"\n", To: importFaults + "\t\"github.com/company/order-catalog-service/shared/telemetry\"\n"},
	{File: "shared/rest/edge.go", From: "{ a.mux.Handle(pattern, h) }", To: "{ a.mux.Handle(pattern, faults.Page(pattern, h)) }"},
	{File: "handler/envelope.go", From: "\t\"runtime/debug\"\n", To: "\t\"runtime/debug\"\n" + importFaults},
	{File: "handler/envelope.go", From: "if err := run(ctx, in); err != nil {", To: "faults.Trigger(in.Function)\n\tif err := run(ctx, in); err != nil {"},
	{File: "handler/server.go", From: "\t\"net/http\"\n", To: "\t\"net/http\"\n" + importFaults},
	{File: "handler/server.go", From: "Handler:           h,", To: "Handler:           faults.Unanswered(h),"},
	{File: "shared/background/background.go", From: "\t\"runtime/debug\"\n", To: "\t\"runtime/debug\"\n" + importFaults},
	{File: "shared/background/background.go", From: "\tgo func() {\n\t\tdefer contain(name, nil)\n", To: "\tgo func() {\n\t\tdefer contain(name, nil)\n\t\tfaults.Begin(name)\n"},
	{File: "shared/background/background.go", From: "\treturn time.AfterFunc(d, func() {\n\t\tdefer contain(name, nil)\n", To: "\treturn time.AfterFunc(d, func() {\n\t\tdefer contain(name, nil)\n\t\tfaults.Begin(name)\n"},
	{File: "shared/background/background.go", From: "\t\tdefer contain(name, &err)\n\t\treturn f()\n", To: "\t\tdefer contain(name, &err)\n\t\tfaults.Begin(name)\n\t\treturn f()\n"},
	{File: "shared/background/background.go", From: "\t\t\tdefer contain(name, &err)\n\t\t\terr = f()\n", To: "\t\t\tdefer contain(name, &err)\n\t\t\tfaults.Begin(name)\n\t\t\terr = f()\n"},
}

// faulty is a handler that fails where a test says so: the sources as they are, and calls of testdata/faults in them.
type faulty struct{ root, dir string }

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	source, err := os.ReadFile("testdata/faults/faults.go")
	require.NoError(t, err)
	f := &faulty{dir: t.TempDir()}
	overlay := kit.Overlay(t, "../..", faultPatches, map[string]string{"shared/faults/faults.go": string(source)})
	built := t.TempDir()
	binary := filepath.Join(built, "handler")
	require.NoError(t, stage.Build(t.Context(), "../..", binary, stage.BuildOptions{Version: "e2e", Overlay: overlay}))
	f.root, err = stage.Stage(stage.Options{Repo: "../..", Binary: binary, Out: filepath.Join(built, "app")})
	require.NoError(t, err)
	return f
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
