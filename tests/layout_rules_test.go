package tests

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	seven    = `"methods":["get","post","put","patch","delete","head","options"]`
	httpOut  = `{"type":"http","direction":"out"}`
	goodHTTP = `{"bindings":[{"type":"httpTrigger","direction":"in","authLevel":"anonymous",` + seven + `,"route":"a/{*rest}"},` + httpOut + `]}`
	goodTick = `{"bindings":[{"type":"timerTrigger","schedule":"*/5 * * * * *"}]}`
	goodBus  = `{"bindings":[{"type":"serviceBusTrigger","queueName":"q","dataType":"binary"}]}`
	table    = "package main\nvar a = []x{{Function: \"a\", Route: \"a/{*rest}\"}}\nvar b = []x{{Function: \"b-c\", Timer: \"*/5 * * * * *\"}, {Function: \"d\", Queue: \"q\"}}\n"
)

// good is a small tree that keeps every rule.
func good() map[string]string {
	return map[string]string{
		"go.mod":                      "module x",
		"handler/main.go":             "// Command handler is it.\npackage main\nimport _ \"" + module + "functions/a\"",
		"handler/routes.go":           table,
		"functions/a/a.go":            "// Package a is a slice.\npackage a\nimport _ \"" + module + "shared/s\"",
		"functions/graphql/g.go":      "// Package graphql may.\npackage graphql\nimport _ \"" + module + "functions/a\"",
		"functions/a/function.json":   goodHTTP,
		"functions/b/c/function.json": goodTick,
		"functions/d/function.json":   goodBus,
		"shared/s/s.go":               "// Package s is shared.\npackage s\nimport _ \"fmt\"",
		"shared/s/b.go":               "package s\nfunc b() { background.Go(\"b\", f); g.Go(\"c\", f); flight.DoChan(\"k\", background.Catch(\"d\", f)) }",
		"shared/s/b_test.go":          "package s\nfunc t() { go f() }",
		"shared/background/go.go":     "// Package background may.\npackage background\nfunc b() { go f() }",
	}
}

// TestEachRuleCanFail changes one thing in the good tree at a time: the rule named must see it, and the good
// tree must pass it.
func TestEachRuleCanFail(t *testing.T) {
	t.Parallel()
	imports := func(target string) string { return "// Package p.\npackage p\nimport _ \"" + module + target + "\"" }
	for _, c := range []struct{ rule, path, content, says string }{
		{"imports", "functions/b/b.go", imports("functions/a"), "functions/b/b.go imports functions/a"},
		{"imports", "functions/b/b.go", imports("handler"), "imports handler"},
		{"imports", "shared/s/x.go", imports("functions/a"), "shared/s/x.go imports functions/a"},
		{"imports", "handler/x.go", imports("infra/local"), "handler/x.go imports infra/local"},
		{"package comments", "shared/s/s.go", "package s", "shared/s has no package comment"},
		{"file length", "shared/s/long.go", "package s\n" + strings.Repeat("\n", maxLines), "601 lines"},
		{"package names", "shared/u/u.go", "package utils", "named utils"},
		{"top level", "notes.txt", "", "notes.txt is not listed"},
		{"goroutines", "shared/s/x.go", "package s\nfunc f() { go func() {}() }", "shared/s/x.go:2 has a bare go"},
		{"goroutines", "handler/x.go", "package main\nfunc f() { func() { go g() }() }", "handler/x.go:2 has a bare go"},
		{"goroutines", "functions/a/x.go", "package a\nfunc f(w *sync.WaitGroup) { w.Go(g) }", "functions/a/x.go:2 calls w.Go"},
		{"goroutines", "functions/a/x.go", "package a\nfunc f() { x.y.Go(g) }", "functions/a/x.go:2 calls Go"},
		{"goroutines", "functions/a/x.go", "package a\nfunc f() { time.AfterFunc(1, g) }", "calls time.AfterFunc"},
		{"goroutines", "functions/a/x.go", "package a\nfunc f() { context.AfterFunc(c, g) }", "calls context.AfterFunc"},
		{"goroutines", "functions/a/x.go", "package a\nfunc f() { f.flight.DoChan(k, g) }", "calls DoChan"},
		{"triggers", "functions/a/function.json", strings.Replace(goodHTTP, "anonymous", "function", 1), "authLevel"},
		{"triggers", "functions/a/function.json", strings.Replace(goodHTTP, `"head",`, "", 1), "methods are"},
		{"triggers", "functions/a/function.json", strings.Replace(goodHTTP, "a/{*rest}", "{*rest}", 1), "whole root"},
		{"triggers", "functions/a/function.json", strings.Replace(goodHTTP, httpOut, httpOut+",{\"type\":\"queue\"}", 1), "is proxied only"},
		{"triggers", "functions/b/c/function.json", strings.Replace(goodTick, "*/5 *", "*/5", 1), "schedule"},
		{"triggers", "functions/d/function.json", strings.Replace(goodBus, "binary", "string", 1), "dataType"},
		{"triggers", "functions/d/function.json", `{"bindings":[]}`, "0 triggers"},
		{"route overlap", "functions/z/function.json", strings.Replace(goodHTTP, "a/{*rest}", "A/b", 1), "a (a/{*rest}) takes requests of z (A/b)"},
		{"routes on one page", "handler/routes.go", strings.Replace(table, `Function: "d"`, `Function: "e"`, 1), "d has a function.json and no line"},
		{"routes on one page", "handler/routes.go", strings.Replace(table, `Function: "d"`, `Function: "e"`, 1), "e has a line too many"},
		{"routes on one page", "handler/routes.go", strings.Replace(table, "*/5", "*/6", 1), "b-c: routes.go says"},
	} {
		t.Run(c.rule+"/"+c.says, func(t *testing.T) {
			t.Parallel()
			for _, r := range rules {
				if r.name != c.rule {
					continue
				}
				tree := good()
				broken, err := r.check(files(tree))
				require.NoError(t, err)
				require.Empty(t, broken, "the good tree")
				tree[c.path] = c.content
				broken, err = r.check(files(tree))
				require.NoError(t, err)
				assert.Contains(t, strings.Join(broken, "\n"), c.says)
				return
			}
			t.Fatalf("there is no rule %q", c.rule)
		})
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]bool{
		{"api/v1/orders/{*rest}", "api/v1/order-requests/{id}"}: false,
		{"api/v1/orders/{*rest}", "api/v1/orders"}:              true,
		{"docs/{*rest}", "openapi.{format}"}:                    false,
		{"openapi.json", "openapi.{format}"}:                    true,
		{"{any}", "openapi.{format}"}:                           true,
		{"health/{check}", "health"}:                            false,
		{"ops/{*rest}", "api/v1/ops/{*rest}"}:                   false,
	} {
		assert.Equal(t, want, overlap(strings.Split(pair[0], "/"), strings.Split(pair[1], "/")), pair)
		assert.Equal(t, want, overlap(strings.Split(pair[1], "/"), strings.Split(pair[0], "/")), pair)
	}
}

func files(tree map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, content := range tree {
		out[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return out
}
